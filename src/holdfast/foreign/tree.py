"""What was read of a foreign file: a tree of arrays and plain values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from holdfast.foreign.arrays import ForeignArray
from holdfast.foreign.build import Replaced
from holdfast.state.objects import found_in


@dataclass(frozen=True, slots=True)
class ForeignTree:
    """A foreign file as arrays and plain values.

    Attributes:
        path: The file or folder.
        kind: Its format, in words.
        root: The tree: dicts, lists, tuples, sets and plain values, with a ``ForeignArray`` for
            each array or tensor.
        replaced: What became another kind of value than its maker had.
    """

    path: str
    kind: str
    root: object
    replaced: tuple[Replaced, ...] = ()

    def arrays(self) -> Iterator[tuple[str, ForeignArray]]:
        """Yield the arrays with their places in the tree, in order."""
        yield from arrays_in(self.root, _joined)

    def numpy(self) -> object:
        """Return the tree with every array in memory, tied ones once."""
        known: dict[int, object] = {}

        def in_memory(array: ForeignArray) -> object:
            if id(array) not in known:
                known[id(array)] = array.numpy()
            return known[id(array)]

        return replaced_arrays(self.root, in_memory)


def _joined(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


def arrays_in(
    value: object, join: Callable[[str, object], str]
) -> Iterator[tuple[str, ForeignArray]]:
    """Yield the arrays of a tree with their places, in order.

    Args:
        value: The tree.
        join: Makes the place of what is in a container, from the container's and a key.
    """
    return found_in(value, lambda inner: isinstance(inner, ForeignArray), join)


def replaced_arrays(value: object, make: Callable[[ForeignArray], object]) -> object:
    """Return a tree with something else in the place of each array."""
    if isinstance(value, ForeignArray):
        return make(value)
    if isinstance(value, dict):
        pairs = ((key, replaced_arrays(inner, make)) for key, inner in value.items())
        return OrderedDict(pairs) if isinstance(value, OrderedDict) else dict(pairs)
    if isinstance(value, list):
        return [replaced_arrays(inner, make) for inner in value]
    if isinstance(value, tuple):
        return tuple(replaced_arrays(inner, make) for inner in value)
    return value
