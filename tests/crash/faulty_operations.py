"""Operations that are done to a store in memory while it fails, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import holdfast
from holdfast import keep
from holdfast.errors import HoldfastError, ManifestDamaged, NotFound, RestoreIncomplete
from holdfast.format.names import RunKeys
from holdfast.history.sweep import find_garbage
from holdfast.store.contract import ObjectStore
from holdfast.testing import FaultPlan, FaultyStore, MemoryStore

RUN = "run"
KEYS = RunKeys(RUN)
BEFORE = (1, 2, 3)


def tree(step: int) -> dict[str, Any]:
    """A state of several chunks, some of it the same in every checkpoint."""
    return {
        "changes": [np.full(9000, step + i, np.float32) for i in range(2)],
        "stays": np.arange(80 << 10, dtype=np.float32),
        "small": {"a": np.full(7, step), "step": step},
    }


def save(store: Any, step: int, **more: Any) -> object:
    return holdfast.save(store, tree(step), run=RUN, step=step, rng=False, **more)


def load_exactly(store: Any, step: int) -> None:
    np.testing.assert_equal(holdfast.load(store, f"{RUN}@{step}", verify="full"), tree(step))


def steps_of(store: Any) -> list[int]:
    try:
        return [info.step for info in holdfast.Store(store).log(RUN)]
    except (NotFound, ManifestDamaged):
        return []


def tags_of(store: Any) -> dict[str, int]:
    return {tag: info.step for info in holdfast.Store(store).log(RUN) for tag in info.tags}


@dataclass(frozen=True)
class Operation:
    """Something that is done to a store, and what it changes when it is done.

    ``do`` is given the store that fails and one that does not.
    """

    do: Callable[[ObjectStore, MemoryStore], object]
    is_done: Callable[[MemoryStore], bool] = lambda store: True
    before: Sequence[int] = BEFORE
    adds: frozenset[int] = frozenset()
    removes: frozenset[int] = frozenset()
    prepare: Callable[[MemoryStore], None] = lambda store: None


def damage(store: MemoryStore) -> None:
    """Flip a byte of the chunk that all checkpoints share, and leave debris."""
    key = next(i.key for i in store.list(KEYS.packs) if i.size > 300_000)
    data = bytearray(store.get(key))
    data[-5000] ^= 1
    store.put(key, data)
    store.put(KEYS.pack("0" * 32, 0), bytes(4096))


def loads_into(store: ObjectStore) -> None:
    into = tree(0)
    before = tree(0)
    try:
        holdfast.load(store, f"{RUN}@latest", into=into)
    except RestoreIncomplete:
        raise  # It says that the state is not to be used.
    except HoldfastError:
        np.testing.assert_equal(into, before)
        raise
    np.testing.assert_equal(into["changes"], tree(into["small"]["a"][0])["changes"])


def loads(store: ObjectStore) -> None:
    found = holdfast.load(store, f"{RUN}@latest")
    np.testing.assert_equal(found, tree(found["small"]["step"]))


def copies(store: ObjectStore, other: MemoryStore) -> None:
    before = steps_of(other)
    try:
        holdfast.Store(store).copy(f"{RUN}@2", other)
    except HoldfastError:
        assert steps_of(other) == before
        raise
    load_exactly(other, 2)


def repairs(store: ObjectStore, other: MemoryStore) -> None:
    report = holdfast.Store(store).repair([other])
    if not report.ok:
        raise HoldfastError(f"not repaired: {report.lost} {report.busy} {report.after}")


OPERATIONS = {
    "first save": Operation(
        lambda store, other: save(store, 4),
        lambda store: steps_of(store) == [4],
        before=(),
        adds=frozenset({4}),
    ),
    "save": Operation(
        lambda store, other: save(store, 4, tag="four"),
        lambda store: steps_of(store) == [1, 2, 3, 4] and tags_of(store).get("four") == 4,
        adds=frozenset({4}),
    ),
    "load": Operation(lambda store, other: loads(store)),
    "load into": Operation(lambda store, other: loads_into(store)),
    "verify": Operation(lambda store, other: holdfast.Store(store).verify()),
    "doctor": Operation(lambda store, other: holdfast.Store(store).doctor()),
    "tag": Operation(
        lambda store, other: holdfast.Store(store).tag(f"{RUN}@1", "named"),
        lambda store: tags_of(store).get("named") == 1,
    ),
    "untag": Operation(
        lambda store, other: holdfast.Store(store).untag(RUN, "named"),
        lambda store: "named" not in tags_of(store),
    ),
    "remove": Operation(
        lambda store, other: holdfast.Store(store).remove(f"{RUN}@1"),
        lambda store: steps_of(store) == [2, 3],
        removes=frozenset({1}),
    ),
    "prune": Operation(
        lambda store, other: holdfast.Store(store).prune(RUN, keep.last(1)),
        lambda store: steps_of(store) == [2, 3],
        removes=frozenset({1}),
    ),
    "copy from": Operation(lambda store, other: copies(store, other)),
    "copy to": Operation(
        lambda store, other: holdfast.Store(other).copy(f"{RUN}@5", store),
        lambda store: steps_of(store) == [1, 2, 3, 5],
        adds=frozenset({5}),
    ),
    "repair": Operation(
        lambda store, other: repairs(store, other),
        lambda store: holdfast.Store(store).verify().ok,
        prepare=damage,
    ),
}


class Bench:
    """The stores that operations begin with, made once."""

    def __init__(self) -> None:
        self._made: dict[str, MemoryStore] = {}
        self.other = MemoryStore()
        for step in (*BEFORE, 5):
            save(self.other, step)

    def store_for(self, operation: Operation) -> MemoryStore:
        """A store as it is before an operation; tag ``named`` is at step 2."""
        name = repr(operation.before)
        if name not in self._made:
            self._made[name] = store = MemoryStore()
            for step in operation.before:
                save(store, step)
            if operation.before:
                holdfast.Store(store).tag(f"{RUN}@2", "named")
        store = self._made[name].clone()
        operation.prepare(store)
        return store

    def strike(
        self, operation: Operation, plan: FaultPlan
    ) -> tuple[FaultyStore, HoldfastError | None]:
        """Do an operation under a plan; return the store, and the error if there was one."""
        faulty = FaultyStore(self.store_for(operation), plan)
        try:
            operation.do(faulty, self.other.clone())
        except HoldfastError as error:
            return faulty, error
        return faulty, None


def assert_usable(store: MemoryStore) -> None:
    """The next save is good, and leaves nothing that nobody needs."""
    save(store, 9)
    load_exactly(store, 9)
    assert find_garbage(store, RUN) == []
    left = [info.key for prefix in (KEYS.pins, KEYS.removals) for info in store.list(prefix)]
    assert left == []
