"""Encryption at rest: a store whose objects and names are sealed before another store has them."""
