"""Migration: content is converted on a plan that somebody else approved, measured, and the original stays."""
