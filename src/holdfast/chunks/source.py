"""Where the chunks of a save come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class ChunkSource(Protocol):
    """Where the bytes of a snapshot's chunks are."""

    def arriving(self) -> Iterator[int]:
        """Yield chunks that are new, and there already, while others are still to come.

        All chunks are there when it ends; not all need have been yielded.
        """
        ...

    def acquire(self, chunk: int) -> memoryview:
        """Return a chunk's bytes, zero-padded to a multiple of the alignment, page-aligned.

        May block until there is room.
        """
        ...

    def release(self, chunk: int) -> None:
        """Say that a chunk's bytes are no longer needed."""
        ...

    def abandon(self) -> None:
        """Let every ``acquire`` that waits, or comes later, raise ``Abandoned``."""
        ...


class Abandoned(Exception):
    """The save has failed already; nobody needs these bytes."""
