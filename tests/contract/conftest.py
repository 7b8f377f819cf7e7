"""Every store that there is, each new and empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.testing import FaultyStore, MemoryStore, plan_of


def _local(folder: Path) -> ObjectStore:
    return LocalStore(folder / "store")


def _memory(folder: Path) -> ObjectStore:
    return MemoryStore()


def _faultless(folder: Path) -> ObjectStore:
    return FaultyStore(MemoryStore(), plan_of())


@pytest.fixture(params=[_local, _memory, _faultless], ids=["local", "memory", "faultless"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    make: Callable[[Path], ObjectStore] = request.param
    return make(tmp_path)
