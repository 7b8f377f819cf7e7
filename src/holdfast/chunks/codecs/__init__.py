"""Chunks stored in fewer bytes: pure functions from bytes to bytes, one codec a file."""
