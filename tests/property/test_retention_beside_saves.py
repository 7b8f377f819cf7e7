"""Retention beside everything else at the same time: saves, tags, forks and readers, in threads.

Whatever the policy and whoever is faster, what was saved last is there, what has a tag is there,
and all that is listed loads exactly.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from saving import opened, save
from state_checks import assert_same
from store_values import Content, contents, policies, tree_of

import holdfast
from holdfast.errors import NotFound
from holdfast.format.lineage import Lineage, Origin
from holdfast.history.sweep import find_garbage, sweep_debris
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.store.local import LocalStore

IS_FULL = os.environ.get("HOLDFAST_FAULTS") == "full"
N_SAVES = 10


class Beside:
    """A run that is saved while others prune, tag and read it."""

    def __init__(self, folder: Path, states: list[Content], policies: list[KeepPolicy]) -> None:
        self.store = holdfast.Store(folder)
        self.states = states
        self.policies = policies
        self.is_over = threading.Event()
        self.tagged: dict[str, int] = {}
        self.errors: list[BaseException] = []
        holdfast.save(folder, tree_of(states[0]), run="r", step=0, metrics={"loss": 1.0}, rng=False)

    def saves(self) -> None:
        origin = Origin(None, "elsewhere", 7, "c" * 32)
        writer = opened(self.store.place.open(create=True), "r")
        try:
            for step, content in enumerate(self.states[1:], start=1):
                metrics = {"loss": abs(step - 4) + 1.0}
                tree, lineage = tree_of(content), Lineage(forked_from=origin)
                save(writer, tree, step, metrics=metrics, lineage=lineage)
        finally:
            writer.close()
            self.is_over.set()

    def prunes(self) -> None:
        while not self.is_over.is_set():
            for policy in self.policies:
                self.store.prune("r", policy)

    def tags(self) -> None:
        number = 0
        while not self.is_over.is_set():
            info = self.store.info("r@latest")
            try:
                self.store.tag(f"r@{info.step}", f"t{number}")
            except NotFound:
                continue  # It was removed before it was named.
            self.tagged[f"t{number}"] = info.step
            number += 1

    def reads(self) -> None:
        while not self.is_over.is_set():
            found = holdfast.load(self.store, "r@latest")
            assert any(found["seeds"] == content for content in self.states)
            assert_same(found, tree_of(found["seeds"]))

    def run(self, *works: Callable[[], None]) -> None:
        def carefully(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)
                self.is_over.set()

        threads = [threading.Thread(target=carefully, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]


@contextmanager
def a_folder() -> Iterator[Path]:
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@settings(max_examples=150 if IS_FULL else 8)
@given(
    st.lists(contents, min_size=N_SAVES, max_size=N_SAVES),
    st.lists(policies, min_size=1, max_size=2),
)
def test_nothing_that_anybody_needs_goes(states: list[Content], policies: list[KeepPolicy]) -> None:
    with a_folder() as folder:
        beside = Beside(folder / "store", states, policies)
        beside.run(beside.saves, beside.prunes, beside.prunes, beside.tags, beside.reads)
        store = beside.store
        listed = store.log("r")
        assert listed[-1].step == N_SAVES - 1
        for info in listed:
            found = holdfast.load(store, info.ref, verify="full")
            assert_same(found, tree_of(states[info.step]))
            assert info.step == 0 or info.forked_from is not None
        for name, step in beside.tagged.items():
            assert store.info(f"r@{name}").step == step
        assert store.verify().ok
        local = LocalStore(store.path)
        sweep_debris(local, "r")
        assert find_garbage(local, "r") == []
