"""Where the tiers of a test are."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiered import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path)
    made.base.mkdir()
    return made
