"""A small state, an encrypted store that holds some steps of it, and what is in its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import holdfast
from holdfast.security.keys import Key

RUN = "run"
STEPS = (1, 2)


def tree(step: int) -> dict[str, Any]:
    """A state of several chunks, one of them the same at every step."""
    return {
        "moves": [np.full(80 << 10, step * 10 + i, np.float32) for i in range(2)],
        "stays": np.arange(70 << 10, dtype=np.float32),
        "small": {"a": np.full(7, step), "step": step},
    }


def fill(
    location: Path, keys: Key | Sequence[Key], runs: Sequence[str] = (RUN,), **more: Any
) -> holdfast.Store:
    """Make a store and save the steps of every run; the last one is tagged."""
    store = holdfast.Store(location, keys=keys)
    for run in runs:
        for step in STEPS:
            holdfast.save(store, tree(step), run=run, step=step, rng=False, metrics={"loss": step})
        store.tag(f"{run}@{STEPS[-1]}", "good")
    return store


def loads(store: holdfast.Store, ref: str = f"{RUN}@2", **how: Any) -> bool:
    """Load a checkpoint; say whether it is what was saved."""
    found = holdfast.load(store, ref, **how)
    expected = tree(found["small"]["step"])
    pairs = zip(_arrays(found), _arrays(expected), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def _arrays(state: dict[str, Any]) -> list[Any]:
    return [*state["moves"], state["stays"], state["small"]["a"]]


def files(store: Path) -> Iterator[Path]:
    return (path for path in sorted(store.rglob("*")) if path.is_file())


def only(store: Path, pattern: str) -> Path:
    [found] = store.glob(pattern)
    return found


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
