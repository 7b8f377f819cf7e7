"""Every store that there is, each new and empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.sealed.store import SealedStore
from holdfast.security.keyring import Keyring
from holdfast.security.unlocked import Unlocked
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.testing import FaultyStore, MemoryStore, plan_of

UNLOCKED = Unlocked("0" * 32, 1, bytes(32), Keyring(b"r" * 32, {1: b"g" * 32}))


def _local(folder: Path) -> ObjectStore:
    return LocalStore(folder / "store")


def _memory(folder: Path) -> ObjectStore:
    return MemoryStore()


def _faultless(folder: Path) -> ObjectStore:
    return FaultyStore(MemoryStore(), plan_of())


def _sealed(folder: Path) -> ObjectStore:
    return SealedStore(LocalStore(folder / "store"), UNLOCKED)


def _sealed_memory(folder: Path) -> ObjectStore:
    return SealedStore(MemoryStore(), UNLOCKED)


@pytest.fixture(
    params=[_local, _memory, _faultless, _sealed, _sealed_memory],
    ids=["local", "memory", "faultless", "sealed", "sealed-memory"],
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    make: Callable[[Path], ObjectStore] = request.param
    return make(tmp_path)
