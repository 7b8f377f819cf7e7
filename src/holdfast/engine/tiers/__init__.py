"""Tiers: the same run in several stores, near ones often, far ones behind it in the background."""
