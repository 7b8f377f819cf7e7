"""Checkpoints stored as differences, saved and removed in whatever order, by whoever: each that is
listed loads exactly, and what is kept is what they name.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from saving import opened, save

import holdfast
from holdfast.chunks.encoder import Compress
from holdfast.engine.run_writer import RunWriter
from holdfast.format.codecs import DELTA, PLANES, RAW
from holdfast.history.sweep import find_garbage
from holdfast.policy.keep import keep
from holdfast.records import commits
from holdfast.records.opening import open_store

IS_FULL = os.environ.get("HOLDFAST_FAULTS") == "full"
NAMES = ("a", "b")
CODEC_NAMES = {RAW: "raw", PLANES: "planes", DELTA: "delta"}


@dataclasses.dataclass(frozen=True)
class Save:
    """Some leaves take a small step, or are all new; what is removed while it is under way."""

    moved: frozenset[str]
    renewed: frozenset[str]
    way: Compress
    by_who_stays: bool
    removed: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Remove:
    """The checkpoints at these places of the list, or all but the last ones."""

    places: tuple[int, ...] = ()
    all_but: int | None = None


names = st.frozensets(st.sampled_from(NAMES))
places = st.lists(st.integers(0, 9), max_size=4).map(tuple)
saves = st.builds(
    Save,
    names,
    st.just(frozenset()) | names,
    st.sampled_from(["delta"] * 4 + ["planes", "none"]),
    st.booleans(),
    st.just(()) | places,
)
removals = st.builds(Remove, places) | st.builds(Remove, all_but=st.integers(1, 3))


class Machine:
    """A run, what each of its checkpoints must be, and a writer that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = holdfast.Store(folder)
        self.plain = open_store(folder, create=True)
        self.writer: RunWriter | None = None
        self.rng = np.random.default_rng(0)
        self.tree = {name: self.rng.integers(0, 256, 300_000, np.uint8) for name in NAMES}
        self.model: dict[int, dict[str, bytes]] = {}
        self.step = 0
        # How chunks were stored: by codec, and what of it was carried.
        self.seen: Counter[str] = Counter()

    def do(self, what: Save | Remove) -> None:
        if isinstance(what, Remove):
            self.remove(what)
        else:
            self.save(what)
        for step, found in self.model.items():
            again = holdfast.load(self.store, f"r@{step}")
            assert {name: again[name].tobytes() for name in NAMES} == found, step

    def save(self, what: Save) -> None:
        for name in what.moved:
            self.tree[name] = self.tree[name].copy()
            self.tree[name][self.rng.integers(0, 300_000, 500)] ^= 1
        for name in what.renewed:
            self.tree[name] = self.rng.integers(0, 256, 300_000, np.uint8)
        self.step += 1
        if what.by_who_stays:
            self.writer = self.writer or opened(self.plain, "r")
            save(self.writer, self.tree, self.step, meanwhile=lambda: self.meanwhile(what))
        else:
            self.close()
            way = what.way
            holdfast.save(self.store, self.tree, run="r", step=self.step, rng=False, compress=way)
        self.model[self.step] = {name: self.tree[name].tobytes() for name in NAMES}
        record = next(r for r in commits.good_commits(self.plain, "r") if r.step == self.step)
        part = commits.read_part(self.plain, record, record.parts[0])
        for row in part.chunks:
            is_carried = record.id not in part.packs[row.pack].key
            self.seen[CODEC_NAMES[row.codec] + (", carried" if is_carried else "")] += 1

    def meanwhile(self, what: Save) -> None:
        if what.removed and self.model:
            self.remove(Remove(what.removed))

    def remove(self, what: Remove) -> None:
        listed = sorted(self.model)
        if what.all_but is not None:
            if listed:
                self.store.prune("r", keep.last(what.all_but))
            gone = listed[: -what.all_but]
        else:
            gone = sorted({listed[place % len(listed)] for place in what.places if listed})
            for step in gone:
                self.store.remove(f"r@{step}")
        for step in gone:
            del self.model[step]

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def finish(self) -> None:
        self.close()
        if not self.step:
            return
        assert [info.step for info in self.store.log("r")] == sorted(self.model)
        assert self.store.verify().ok
        # What a save under way kept from being swept goes when the run is opened again.
        opened(self.plain, "r").close()
        assert find_garbage(self.plain, "r") == []


def carry_out(operations: Sequence[Save | Remove]) -> Counter[str]:
    """Do all that, look at everything after each, and return how chunks were stored."""
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="holdfast-test-", dir=base) as folder:
        machine = Machine(Path(folder))
        try:
            for operation in operations:
                machine.do(operation)
            machine.finish()
        finally:
            machine.close()
        return machine.seen


@settings(max_examples=400 if IS_FULL else 15, deadline=None)
@given(st.lists(saves | saves | removals, min_size=6, max_size=12))
def test_deltas_are_safe_whatever_comes_in_whatever_order(operations: list[Save | Remove]) -> None:
    carry_out(operations)


def step(*moved: str, new: str = "", stays: bool = True, **more: Any) -> Save:
    return Save(frozenset(moved), frozenset(new), more.pop("way", "delta"), stays, **more)


def test_these_are_stored_as_differences() -> None:
    """Of what the machine above draws it cannot be known beforehand."""
    found = carry_out(
        [
            step(),
            step("a"),
            step("a", "b"),
            step("b", removed=(1,)),
            Remove(all_but=2),
            step("a"),
            step("a", "b", stays=False),
            step("b", stays=False, way="planes"),
            step("a", new="b", stays=False),
            Remove(places=(0,)),
            step("a", "b"),
        ]
    )
    assert found == {"raw": 5, "raw, carried": 13, "delta": 9, "delta, carried": 3}
