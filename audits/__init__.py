"""Is it still what we promised?"""
