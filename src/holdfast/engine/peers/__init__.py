"""Hosts that each keep a store of their own, and hold copies for one another."""
