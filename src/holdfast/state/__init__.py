"""States as trees: leaves and their paths, objects with state of their own, RNG, environment."""
