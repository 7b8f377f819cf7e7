"""What every store can do: keep immutable objects under keys, and say when they are durable.

Keys are ``/``-separated relative paths of safe components. Objects become visible whole or not
at all. Errors are holdfast's own: ``ChunkMissing`` for an object that is not there, ``NoSpace``,
``StoreUnavailable``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from holdfast.errors import ChunkDamaged

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object in a listing: key, size in bytes, time of the last change in seconds (epoch).

    Its bytes are there once for all its names, of which there are several where it was linked.
    """

    key: str
    size: int
    modified_s: float
    n_names: int = 1


@dataclass(frozen=True, slots=True)
class Staged:
    """An object that a store has the bytes of but does not show yet; stores derive their own."""

    key: str
    size: int


class ObjectReader(Protocol):
    """An open object; reads from several threads at once are allowed."""

    size: int

    def read(self, into: memoryview, offset: int) -> None:
        """Fill into with the bytes at offset; fewer bytes than that are an error."""
        ...

    def is_cached(self, offset: int, nbytes: int) -> bool:
        """Say whether a stretch is in memory already, so that ``read_cached`` will do."""
        ...

    def read_cached(self, into: memoryview, offset: int) -> bool:
        """Fill into if the bytes are in memory still; False, at once, if they are not."""
        ...

    def read_uncached(self, into: memoryview, offset: int) -> None:
        """Fill into past every cache where that is possible.

        The caller gives page-aligned memory, an aligned offset, and a length that is a
        multiple of the page or ends with the object.
        """
        ...

    def close(self) -> None:
        """Give the object back."""
        ...


class StoreLock(Protocol):
    """An advisory lock that dies with its holder; a note of its holder's can be read by all."""

    def acquire(self) -> bool:
        """Take the lock, or say at once that somebody else has it."""
        ...

    def note(self) -> bytes:
        """Return what the holder has written; nothing if it has not."""
        ...

    def write_note(self, note: bytes) -> None:
        """Replace the note; trouble with it is no error."""
        ...

    def close(self) -> None:
        """Give the lock back, if it is held."""
        ...


@runtime_checkable
class ObjectStore(Protocol):
    """A place that holds objects. All methods may be called from several threads at once.

    ``location`` says in words where it is; two stores of one location hold the same objects. One
    that is far declares so by an attribute ``is_far`` that is true: see ``is_far``.
    """

    location: str

    def create(self) -> None:
        """Make the place itself, if it is not there."""
        ...

    def stage(self, key: str, buffers: Sequence[Buffer]) -> Staged:
        """Take the concatenation of buffers as a new object, not yet visible.

        Called once per pack, with large buffers that stay the caller's and are not changed until
        the call returns. Page-aligned ones are the fastest.
        """
        ...

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged objects durable and visible; when it returns, all of them are."""
        ...

    def discard(self, staged: Sequence[Staged]) -> None:
        """Throw staged objects away; never raises."""
        ...

    def put(self, key: str, data: Buffer) -> None:
        """Write an object, durable on return; replaces one that is there, in one step."""
        ...

    def put_hint(self, key: str, data: Buffer) -> None:
        """Write an object that is visible at once but need not outlive a power cut."""
        ...

    def put_new(self, key: str, data: Buffer) -> bool:
        """Write an object unless the key is taken, durable on return; say if it was."""
        ...

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Add to the end of an object, making it if need be, in one piece."""
        ...

    def open_lock(self, key: str) -> StoreLock:
        """Return the advisory lock of a key, not held yet; the object there is the lock's own."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        ...

    def open(self, key: str) -> ObjectReader:
        """Open an object for reading."""
        ...

    def exists(self, key: str) -> bool:
        """Say whether there is an object with that key."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key begins with prefix (which ends in ``/``), sorted by key."""
        ...

    def folders(self, prefix: str) -> Sequence[str]:
        """Return the names right below prefix that have objects below themselves, sorted."""
        ...

    def clear_debris(self, prefix: str) -> None:
        """Remove what writers that died have left half done below prefix.

        Only to be called while nobody writes there. The empty prefix means the top only.
        """
        ...

    def free_bytes(self) -> int | None:
        """Return how many bytes there is room for; None where nobody can tell."""
        ...

    def delete_hint(self, key: str) -> None:
        """Remove an object that ``put_hint`` wrote, if it is there; need not be durable."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, durably; those that are not there are no error."""
        ...


def is_far(store: ObjectStore) -> bool:
    """Say whether a store declares that to read a thing again costs as much as the first time.

    What is far is read once, into memory that is taken for it. Who says nothing is near.
    """
    return bool(getattr(store, "is_far", False))


def is_here(store: ObjectStore, key: str) -> bool:
    """Say of a store that gets what it lacks from others whether it has an object itself.

    Of all other stores there is nothing to ask.
    """
    own = getattr(store, "is_here", None)
    return own is None or bool(own(key))


def linking(store: ObjectStore) -> Callable[[str, str], bool] | None:
    """Return what gives an object of a store a second name without a copy; None if it cannot.

    ``link(source, target)`` says whether it did. It is durable then, and each of the two names is
    deleted by itself. That the target is there already counts as done.
    """
    found = getattr(store, "link", None)
    return found if callable(found) else None


def list_everywhere(store: ObjectStore, prefix: str) -> Iterable[ObjectInfo]:
    """Yield what a store has below a prefix, and what others have that it could get it from."""
    found = getattr(store, "list_everywhere", None)
    return store.list(prefix) if found is None else found(prefix)


def cut_short(key: str, end: int) -> ChunkDamaged:
    """Return the error for a read that goes beyond the end of an object."""
    return ChunkDamaged(f"The object {key!r} is cut short: it ends at byte {end}.", key=key)
