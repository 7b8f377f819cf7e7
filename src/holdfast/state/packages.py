"""Packages whose arrays and objects holdfast knows; each is an extra of the same name."""

from __future__ import annotations

# The later ones may build on the earlier.
PACKAGES = (
    *("torch", "jax", "flax", "grain", "tensorflow", "keras"),
    *("sklearn", "xgboost", "lightgbm"),
)
