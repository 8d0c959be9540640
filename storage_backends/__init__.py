"""Bytes under keys: one module a medium, and wrappers around them."""
