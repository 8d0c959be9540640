"""The witness: a second party that keeps and countersigns the checkpoints of other archives' ledgers."""
