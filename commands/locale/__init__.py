"""Translations of what people read, and the script that keeps them up to date."""
