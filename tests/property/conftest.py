"""Fixtures and settings for the property tests."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# What equality of states means is said once, beside the unit tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

settings.register_profile(
    "holdfast",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("holdfast")
