"""What pickles of PyTorch ask their loader for: the storages that tensors look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from holdfast.foreign.sources import Source

if TYPE_CHECKING:
    from holdfast.foreign.build import Builder


@dataclass(frozen=True, slots=True)
class Storage:
    """The bytes that tensors of PyTorch look at; ``dtype`` is None where each tensor says it."""

    source: Source
    offset: int
    nbytes: int
    number: int
    dtype: str | None
    big_endian: bool = False


class Loader(Protocol):
    """What stands in for the loader that a pickle asks for what is not in it."""

    def storage(self, key: object) -> Storage:
        """Return the storage of a persistent id, or raise ValueError."""
        ...

    def value(self, builder: Builder, key: object) -> object:
        """Return the value of a persistent id, or raise ValueError."""
        ...


class NoLoader:
    """The loader of plain pickles, which have nothing but themselves."""

    def storage(self, key: object) -> Storage:
        """Refuse it."""
        raise ValueError("it asks its loader for something that no file of this kind has")

    def value(self, builder: Builder, key: object) -> object:
        """Refuse it."""
        builder.refuse("it asks its loader for something that only a program can make")
