"""What is still in a foreign file as leaves of a state: arrays, saved as they are read.

What no checkpoint can hold is a leaf as well, so that it can be left out; it is refused where it
is not.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import prod
from typing import Any, final

from holdfast.errors import CannotConvert, ForeignDamaged
from holdfast.foreign.arrays import ForeignArray
from holdfast.state.arrays import ArraySpec, register_adapter

# What libraries count strides with, in bytes, of elements of up to 16.
_MOST_ELEMENTS = 2**59


@final
@dataclass(frozen=True, slots=True)
class Unheld:
    """A value of a foreign file that no checkpoint can hold.

    Attributes:
        what: What it is, and why not: the beginning of the message.
    """

    what: str


@final
class LazyAdapter:
    """Lets lazy arrays be leaves of a state that is saved."""

    framework = "foreign"
    mutable = False

    def is_array(self, value: object) -> bool:
        return isinstance(value, ForeignArray | Unheld)

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        if isinstance(value, Unheld):
            raise CannotConvert(
                f"{value.what}. Nothing was saved. To leave it out: --skip {path!r}.", name=path
            )
        # Of one that has no elements, so that the size of the file does not tell.
        if prod(length for length in value.shape if length) > _MOST_ELEMENTS:
            raise ForeignDamaged(
                f"{path!r} has the shape {list(value.shape)}, which no array can have. Nothing "
                "was saved.",
                path=path,
            )
        spec = ArraySpec(value.framework, value.dtype, value.shape, value.nbytes)
        return spec, value.identity, None

    def count_changes(self, value: Any) -> int | None:
        return 0

    def export(self, value: Any, into: memoryview) -> None:
        value.read(0, into)

    def export_range(self, value: Any, begin: int, into: memoryview) -> None:
        value.read(begin, into)

    def is_writable(self, value: Any) -> bool:
        return False

    def assign(self, value: Any, data: memoryview) -> None:
        raise TypeError("a foreign array is only read")

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        raise TypeError("a foreign array is only read")

    def finish(self, value: Any, like: Any | None) -> Any:
        raise TypeError("a foreign array is only read")


register_adapter(LazyAdapter())
