"""Tape: cartridges in a library, written from a staging store, read back, and catalogued by what they hold."""
