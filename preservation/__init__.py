"""What we promise and how we keep it: ingest, packages, packs, ledger, catalog, replication, repair."""
