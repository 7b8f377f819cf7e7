"""Fixtures for the unit tests: folders for stores, fast where the machine allows it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def store_path(tmp_path: Path) -> Iterator[Path]:
    """A folder for a store, in memory where that is to be had: hundreds of syncs cost nothing."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path / "store"
        return
    folder = tempfile.mkdtemp(prefix="holdfast-test-", dir="/dev/shm")
    try:
        yield Path(folder, "store")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
