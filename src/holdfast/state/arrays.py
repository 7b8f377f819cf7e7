"""What an array is to holdfast: an adapter per framework between array objects and bytes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from holdfast.format.boxes import Box


class ArraySpec(NamedTuple):
    """What is to be known of an array before its bytes: shape in elements, size in bytes.

    ``cast_from`` is the type that it has in the state, where it is saved as another one; else it
    is empty. A named tuple, since a state may have a million of them.
    """

    framework: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    cast_from: str = ""

    def is_like(self, other: ArraySpec) -> bool:
        """Say whether another array has the same dtype and shape."""
        return (self.dtype, self.shape) == (other.dtype, other.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class SavedArray(Protocol):
    """What is known of an array of a checkpoint, wherever its bytes are."""

    @property
    def framework(self) -> str:
        """Whose it was."""
        ...

    @property
    def dtype(self) -> str:
        """Its element type."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, in elements."""
        ...

    @property
    def nbytes(self) -> int:
        """Its bytes, dense."""
        ...

    @property
    def cast_from(self) -> str:
        """Its element type before it was saved as another one; empty where it was not."""
        ...


class ArrayAdapter(Protocol):
    """Bridge between one framework's arrays and plain bytes in C order.

    One adapter is registered per framework. ``mutable`` says whether the framework's arrays can
    be written to; those that cannot are replaced in the container that holds them.
    """

    framework: str
    mutable: bool

    def is_array(self, value: object) -> bool:
        """Say whether value is an array of this framework."""
        ...

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        """Describe value.

        Returns:
            Its spec; a key that is equal for arrays over the same memory in the same layout, or
            None; the address of its bytes in host memory in C order, or None if they are not
            there.

        Raises:
            UnsupportedLeaf: value cannot be saved; the message names path and reason.
        """
        ...

    def count_changes(self, value: Any) -> int | None:
        """Return a number that rises when value is changed in place; None if nobody counts."""
        ...

    def export(self, value: Any, into: memoryview) -> None:
        """Copy value's bytes in C order, from whatever device and layout."""
        ...

    def is_writable(self, value: Any) -> bool:
        """Say whether value can be written to; else another array takes its place."""
        ...

    def assign(self, value: Any, data: memoryview) -> None:
        """Copy bytes in C order into value, whatever its device and layout."""
        ...

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        """Return an array being made and the bytes to fill; ``finish`` makes it complete.

        ``like``, if given, is the array that it replaces (its device and layout).
        """
        ...

    def finish(self, value: Any, like: Any | None) -> Any:
        """Return the finished array of what ``create`` returned and the caller filled."""
        ...


@runtime_checkable
class RangeAdapter(Protocol):
    """What an adapter can do besides whose arrays need not be brought here as a whole."""

    def export_range(self, value: Any, begin: int, into: memoryview) -> None:
        """Fill into with value's bytes in C order, from an offset in bytes on."""
        ...


@runtime_checkable
class NarrowingAdapter(Protocol):
    """What an adapter can do besides whose framework makes floats narrower itself, and faster."""

    def export_as(self, value: Any, dtype: str, into: memoryview) -> None:
        """Fill into with value's elements as floats of fewer bits, rounded to the nearest."""
        ...


@runtime_checkable
class ConvertingAdapter(Protocol):
    """What an adapter can do besides whose arrays take values of another dtype."""

    def converts(self, dtype: str, into: str) -> bool:
        """Say whether values of a dtype may become those of another: kinds of number stay."""
        ...

    def convert_into(self, target: Any, value: Any) -> None:
        """Put the values of an array, as new ones of target's dtype, into target."""
        ...


@runtime_checkable
class AssemblingAdapter(Protocol):
    """What an adapter can do besides whose arrays do not change, and lie on several ranks."""

    def assemble(self, target: Any, pieces: Sequence[tuple[Box, Any]]) -> Any:
        """Return an array that lies as target does.

        Args:
            target: The array that it replaces.
            pieces: What ``create`` returned for each box that this process holds, filled.
        """
        ...


_adapters: dict[str, ArrayAdapter] = {}
_version = 0


def register_adapter(adapter: ArrayAdapter) -> None:
    """Make a framework's arrays known; a second registration replaces the first."""
    global _version
    _adapters[adapter.framework] = adapter
    _version += 1


def adapter_of(value: object) -> ArrayAdapter | None:
    """Return the adapter of the framework whose array value is, or None."""
    for adapter in _adapters.values():
        if adapter.is_array(value):
            return adapter
    return None


def adapter_named(framework: str) -> ArrayAdapter | None:
    """Return the adapter of that framework, or None where it is not registered."""
    return _adapters.get(framework)


def registry_version() -> int:
    """Return a number that changes whenever an adapter is registered."""
    return _version
