"""Chunk bytes in and out: digests made and checked, packs written and read."""
