"""How numbers and values are said, to people and to programs."""
