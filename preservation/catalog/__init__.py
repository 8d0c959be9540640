"""The catalog: an index of ledger and packs on RocksDB that can be thrown away and built anew."""
