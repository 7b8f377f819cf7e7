"""How chunks lie in packs: as they are, or sealed. Everything else about them is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, final

from blake3 import blake3

from holdfast.sealed.store import SealedStore
from holdfast.store.contract import ObjectStore


class Hasher(Protocol):
    """Takes bytes, gives a digest."""

    def update(self, data: memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


@final
class NoDigest:
    """Takes bytes, and gives no digest of them."""

    def update(self, data: memoryview, /) -> None:
        """Do nothing."""

    def digest(self) -> bytes:
        return b""


class Opener(Protocol):
    """Turns the stored bytes of one chunk into its own, in order."""

    def add(self, stored: memoryview, into: memoryview) -> None:
        """Take the next stored bytes; into, of the same size, may be the same memory."""
        ...

    def finish(self) -> None:
        """End; to be called once.

        Raises:
            Unsealable: What was added is not what was stored under this id.
        """
        ...


class ChunkForm(Protocol):
    """What the chunks of a store are like.

    Attributes:
        trailer_bytes: What is stored behind each chunk.
        is_sealed: Whether a chunk must be named before it can be written, and its seal proves
            what is stored.
    """

    trailer_bytes: int
    is_sealed: bool

    def hasher(self) -> Hasher:
        """Return what gives the id of a chunk."""
        ...

    def opener(self, name: bytes, trailer: memoryview) -> Opener:
        """Return what opens the chunk of an id, from what is stored behind it.

        Raises:
            Unsealable: It was sealed with a key that is not known.
        """
        ...

    def stored(
        self, views: Sequence[memoryview], lengths: Sequence[int], names: Callable[[int], bytes]
    ) -> AbstractContextManager[Sequence[memoryview]]:
        """Give the bytes of chunks as they are to be stored, each padded to the alignment.

        Args:
            views: Their own bytes, padded to the alignment.
            lengths: How many bytes of each view are the chunk's.
            names: Gives the id of the chunk at a place in views; asked only where they are sealed.
        """
        ...


@final
class PlainForm:
    """Chunks as they are."""

    trailer_bytes = 0
    is_sealed = False

    def hasher(self) -> Hasher:
        return blake3()

    def opener(self, name: bytes, trailer: memoryview) -> Opener:
        return _AsItIs()

    def stored(
        self, views: Sequence[memoryview], lengths: Sequence[int], names: Callable[[int], bytes]
    ) -> AbstractContextManager[Sequence[memoryview]]:
        return nullcontext(views)


@final
class _AsItIs:
    def add(self, stored: memoryview, into: memoryview) -> None:
        """Do nothing: they were read to where they go."""

    def finish(self) -> None:
        """Do nothing: digests tell."""


_PLAIN = PlainForm()


def form_of(store: ObjectStore) -> ChunkForm:
    """Return how chunks lie in a store."""
    return store.chunk_form if isinstance(store, SealedStore) else _PLAIN


def is_chunk(form: ChunkForm, data: memoryview, name: bytes) -> bool:
    """Say whether bytes are those of the chunk with an id."""
    hasher = form.hasher()
    hasher.update(data)
    return hasher.digest() == name
