"""The random number generators that a run's libraries keep for themselves.

Every library in play registers a source; all of them go into each checkpoint under ``@rng``.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.state.codecs import python_random_state, python_random_tree
from holdfast.state.numpy_generators import set_global_state

ROOT_KEY = "@rng"


@dataclass(frozen=True, slots=True)
class RngSource:
    """A library's global generators: whether it is in play, and how to get and set them."""

    name: str
    in_play: Callable[[], bool]
    get: Callable[[], object]
    put: Callable[[Any], None]


_sources: dict[str, RngSource] = {}


def register_rng(source: RngSource) -> None:
    """Make a library's generators part of every checkpoint."""
    _sources[source.name] = source


def capture() -> dict[str, object]:
    """Return the state of every generator in play, by library."""
    return {name: source.get() for name, source in _sources.items() if source.in_play()}


def apply(saved: Mapping[str, Any]) -> list[str]:
    """Set every generator that was saved; return those whose library is not in play here."""
    absent = []
    for name, tree in saved.items():
        source = _sources.get(name)
        if source is None or not source.in_play():
            absent.append(name)
        else:
            source.put(tree)
    return absent


register_rng(
    RngSource(
        "python",
        lambda: True,
        lambda: python_random_tree(random.getstate()),
        lambda tree: random.setstate(python_random_state(tree)),
    )
)
register_rng(
    RngSource(
        "numpy",
        lambda: "numpy.random" in sys.modules,
        lambda: np.random.get_state(legacy=False),
        set_global_state,
    )
)
