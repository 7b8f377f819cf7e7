"""What is far away is read once, also where memory that stands is restored."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.engine import spare
from holdfast.errors import ChunkDamaged
from holdfast.sealed.store import SealedStore
from holdfast.security.keyring import Keyring
from holdfast.security.unlocked import Unlocked
from holdfast.store.contract import ObjectReader, is_far
from holdfast.store.local import LocalStore
from holdfast.store.range_reader import RangeReader
from holdfast.testing import FaultPlan, FaultyStore, MemoryStore

UNLOCKED = Unlocked("0" * 32, 1, bytes(32), Keyring(b"r" * 32, {1: b"g" * 32}))


class Counting(LocalStore):
    """A folder of which nothing is cached; it counts the bytes of packs that are read."""

    is_far = False

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.pack_bytes = 0
        self._counting = threading.Lock()

    def open(self, key: str) -> ObjectReader:  # type: ignore[override]
        reader = super().open(key)

        def fetch(into: memoryview, offset: int) -> int:
            reader.read(into, offset)
            with self._counting:
                self.pack_bytes += into.nbytes if "/packs/" in key else 0
            return into.nbytes

        return RangeReader(key, reader.size, fetch)


class Far(Counting):
    is_far = True


def state(value: float) -> dict[str, Any]:
    rng = np.random.default_rng(int(value))
    return {"w": rng.standard_normal(3_000_000), "b": np.full(1000, value), "n": int(value)}


def saved_bytes(store: LocalStore) -> int:
    return sum(info.size for info in store.list("runs/r/packs/"))


@pytest.mark.parametrize("compress", ["none", "planes", "delta"])
def test_what_is_far_is_read_once(tmp_path: Path, compress: Any) -> None:
    store = Far(tmp_path)
    holdfast.save(store, state(1), run="r", step=1, compress=compress)
    target = state(2)
    w = target["w"]
    holdfast.load(store, "r@1", into=target)
    assert target["w"] is w and np.array_equal(w, state(1)["w"]) and target["n"] == 1
    assert 0 < store.pack_bytes <= saved_bytes(store)


def test_of_what_is_far_little_is_fetched_where_little_is_wanted(tmp_path: Path) -> None:
    store = Far(tmp_path)
    saved = {f"w{i}": np.full(20_000, float(i)) for i in range(6)}
    holdfast.save(store, saved, run="r", step=1, rng=False)
    target = {"w3": np.zeros(20_000)}
    found = holdfast.load(store, "r@1", into=target, only="w3")
    assert np.array_equal(target["w3"], saved["w3"])
    assert 160_000 <= store.pack_bytes == found.read_bytes <= 160_000 + 2 * 4096


def test_what_is_near_is_read_twice_and_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare, "private_memory", lambda nbytes: pytest.fail("memory was taken"))
    store = Counting(tmp_path)
    holdfast.save(store, state(1), run="r", step=1)
    holdfast.load(store, "r@1", into=state(2))
    assert store.pack_bytes > 1.9 * saved_bytes(store)


@pytest.mark.parametrize("free", [None, 0, 150 << 20])
def test_where_memory_is_scarce_the_rest_is_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None
) -> None:
    store = Far(tmp_path)
    wanted = np.random.default_rng(0).standard_normal((4, 4 << 20))
    holdfast.save(store, dict(zip("abcd", wanted, strict=True)), run="r", step=1, rng=False)
    target = {name: np.zeros(4 << 20) for name in "abcd"}
    monkeypatch.setattr(spare, "free_memory_bytes", lambda: free)
    holdfast.load(store, "r@1", into=target)
    assert np.array_equal([target[name] for name in "abcd"], wanted)
    assert saved_bytes(store) < store.pack_bytes <= 2 * saved_bytes(store)


def test_nothing_is_changed_where_it_is_damaged(tmp_path: Path) -> None:
    store = Far(tmp_path)
    holdfast.save(store, state(1), run="r", step=1)
    (pack,) = (Path(store.path(info.key)) for info in store.list("runs/r/packs/"))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    target = state(2)
    with pytest.raises(ChunkDamaged):
        holdfast.load(store, "r@1", into=target)
    assert all(np.array_equal(target[name], value) for name, value in state(2).items())


def test_a_store_around_another_is_as_far(tmp_path: Path) -> None:
    assert not is_far(MemoryStore()) and not is_far(LocalStore(tmp_path))
    for inner, far in ((Far(tmp_path), True), (Counting(tmp_path), False)):
        assert is_far(SealedStore(inner, UNLOCKED)) is far
        assert is_far(FaultyStore(inner, FaultPlan(()))) is far
