"""What notebooks show of a store and what it tells: one file for each object, HTML by itself."""
