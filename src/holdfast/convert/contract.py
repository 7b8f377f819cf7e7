"""What a foreign format is to holdfast: a way to find, to read and to write files of a kind.

Reading gives a tree in which arrays are ``ForeignArray``: what they are, and how to get at their
bytes. Writing gives a ``FilePlan`` for each file: arrays as plain bytes at their offsets, so that
several threads stream them there in bounded memory, and everything else as pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from holdfast.convert.selection import Selection
from holdfast.foreign import Unknown

Piece = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Imported:
    """What a reader found.

    Attributes:
        tree: The state, with lazy arrays.
        facts: What is known of it besides.
        notes: What became another kind of value on the way, for users, a line each.
    """

    tree: dict[str, Any]
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the bytes of an array go: its row in the checkpoint, its offset in the file."""

    row: int
    offset: int


def _no_sums(sums: Sequence[int]) -> Iterable[Piece]:
    return ()


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file that is to be written.

    Attributes:
        name: Relative to the exported folder; empty where what is exported is one file.
        nbytes: Its size; what is neither a piece nor an array is zero.
        pieces: Offsets and bytes of what is no array: headers, indices.
        arrays: Where the arrays go.
        sums: Name of the checksum that the format wants of each array (``crc32``, ``crc32c``), or
            None.
        late: Gives the pieces that hold checksums, from those of ``arrays`` in their order.
        notes: What becomes another kind of value on the way, for users, a line each.
        sums_of: Number of the plan whose checksums ``late`` wants; None is this one.
    """

    name: str
    nbytes: int
    pieces: Sequence[Piece]
    arrays: Sequence[Placement]
    sums: str | None = None
    late: Callable[[Sequence[int]], Iterable[Piece]] = _no_sums
    notes: Sequence[str] = ()
    sums_of: int | None = None


class Format(Protocol):
    """A kind of files, by its name for users.

    Attributes:
        name: What ``--format`` calls it.
        holds_values: Whether it has a place for plain values, too.
        options: Names of what it takes for writing besides.
        members: Patterns for the names in a folder of it; none where it is one file.
    """

    name: str
    holds_values: bool
    options: Sequence[str]
    members: Sequence[str]

    def recognises(self, path: Path) -> bool:
        """Say, from a look at the beginning of it, whether path is of this format."""
        ...

    def read(self, path: Path) -> Imported:
        """Return what is in it; no array is read yet.

        Raises:
            ForeignDamaged: It is not what it says, or cut short.
        """
        ...

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        """Return the files that a selection of leaves becomes.

        Raises:
            CannotConvert: The format has no place for something that is selected.
        """
        ...


@runtime_checkable
class ReadsUnknown(Protocol):
    """A format whose files may hold objects of classes that only their own code knows."""

    def read_unknown(self, path: Path, unknown: Unknown) -> Imported:
        """Return what is in it; with ``"keep"`` plain values in the place of such objects."""
        ...


@runtime_checkable
class KeepsTree(Protocol):
    """A format that keeps containers and keys as they are, so that names joined do not matter."""

    keeps_tree: bool


@runtime_checkable
class HoldsSome(Protocol):
    """A format that has a place for some plain values and not for others."""

    def holds(self, value: object) -> bool:
        """Say whether a plain value has a place in files of the format."""
        ...
