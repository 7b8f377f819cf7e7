"""Saving and restoring at work: arena, snapshot, persister process, restore."""
