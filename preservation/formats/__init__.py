"""Which format a file has, and how we know."""
