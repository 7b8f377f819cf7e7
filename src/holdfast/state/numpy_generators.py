"""NumPy's generators as trees: where they stand, and from what further streams are spawned."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from holdfast.errors import UsageError

_log = logging.getLogger("holdfast")

_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
# Beside what NumPy's own state has; NumPy and earlier versions of holdfast look past it.
_SEED_SEQUENCE = "seed_seq"


def generator_tree(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator, with the seed sequence that ``spawn`` takes from."""
    bit_generator = generator.bit_generator
    tree = dict(bit_generator.state)
    # Seeded in older ways, or by a sequence of another class, it cannot be made anew by name.
    sequence = getattr(bit_generator, "seed_seq", None)
    if type(sequence) is np.random.SeedSequence:
        entropy = sequence.entropy
        tree[_SEED_SEQUENCE] = {
            **sequence.state,
            "entropy": entropy.tolist() if isinstance(entropy, np.ndarray) else entropy,
            "spawn_key": [int(key) for key in sequence.spawn_key],
        }
    return tree


def new_generator(tree: dict[str, Any]) -> np.random.Generator:
    """Return a generator that goes on where the one of the tree was, and spawns what it would."""
    return np.random.Generator(new_bit_generator(tree))


def new_bit_generator(tree: dict[str, Any]) -> Any:
    """Return a bit generator of the kind that the tree names, in its state.

    Raises:
        UsageError: NumPy has none of that name.
    """
    name = tree["bit_generator"]
    if name not in _BIT_GENERATORS:
        raise UsageError(f"The checkpoint names an unknown NumPy bit generator {name!r}.")
    bit_generator = getattr(np.random, name)(_sequence_of(tree))
    bit_generator.state = _own_state(tree)
    return bit_generator


def set_generator(generator: np.random.Generator, tree: dict[str, Any]) -> None:
    """Let a generator that stands go on where the one of the tree was."""
    bit_generator: Any = generator.bit_generator
    sequence = _sequence_of(tree)
    if sequence is None:
        bit_generator.state = _own_state(tree)
        return
    try:
        # As NumPy itself brings one back from a copy: nothing else can change the sequence.
        bit_generator.__setstate__((_own_state(tree), sequence))
    except TypeError:
        # NumPy 1 has no way to.
        bit_generator.state = _own_state(tree)
        if generator_tree(generator).get(_SEED_SEQUENCE) != tree[_SEED_SEQUENCE]:
            _log.warning(
                "A NumPy generator goes on where it was, but what it spawns from now on is other "
                "than it would have been: NumPy %s cannot change that. Take NumPy 2.",
                np.__version__,
            )


def new_random_state(tree: dict[str, Any]) -> np.random.RandomState:
    """Return a ``RandomState`` over a bit generator of the kind that the tree names."""
    generator = np.random.RandomState(new_bit_generator(tree))
    generator.set_state(tree)
    return generator


def set_global_state(tree: dict[str, Any]) -> None:
    """Let NumPy's global generator go on where it was, over the same kind of bit generator."""
    # NumPy's types know nothing of its ``set_bit_generator``.
    module: Any = np.random
    if module.get_state(legacy=False)["bit_generator"] != tree["bit_generator"]:
        module.set_bit_generator(new_bit_generator(tree))
    module.set_state(tree)


def _own_state(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key != _SEED_SEQUENCE}


def _sequence_of(tree: dict[str, Any]) -> np.random.SeedSequence | None:
    saved = tree.get(_SEED_SEQUENCE)
    if saved is None:
        return None
    return np.random.SeedSequence(
        saved["entropy"],
        spawn_key=tuple(saved["spawn_key"]),
        pool_size=saved["pool_size"],
        n_children_spawned=saved["n_children_spawned"],
    )
