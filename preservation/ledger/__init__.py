"""The ledger: an append-only, Merkle-hashed, signed log of PREMIS events."""
