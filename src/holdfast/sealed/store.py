"""A store that hands everything sealed to another: objects, their names, what locks say.

It keeps the contract of stores, so that nothing above knows of it. Marker and keyrings are in the
open; packs pass as they are, since their chunks are sealed one by one (``chunk_form``): ranges,
direct I/O and re-use stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

from holdfast.errors import DataError
from holdfast.format.names import KEYRINGS_PREFIX, MARKER_KEY
from holdfast.sealed.chunk_form import SealedForm
from holdfast.sealed.names import HiddenNames, hidden
from holdfast.sealed.objects import (
    broken,
    open_object,
    plain_bytes,
    resealed,
    seal_line,
    seal_object,
)
from holdfast.security import unlocked as unlocked_format
from holdfast.security.seal import Seals
from holdfast.security.unlocked import Unlocked
from holdfast.store import recipe as recipes
from holdfast.store.bytes_reader import BytesReader
from holdfast.store.contract import (
    Buffer,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    Staged,
    StoreLock,
    is_far,
)
from holdfast.store.keys import check_key
from holdfast.store.recipe import Recipe, recipe_of


@dataclass(frozen=True, slots=True)
class SealedStaged(Staged):
    """An object that the other store has staged, under the key that was asked for."""

    inner: Staged


@final
class SealedStore:
    """Seals what goes into a store, and opens what comes out.

    Args:
        inner: Where everything lies.
        unlocked: The keys.
    """

    def __init__(self, inner: ObjectStore, unlocked: Unlocked) -> None:
        self.location = inner.location
        self.inner = inner
        self.unlocked = unlocked
        self.seals = Seals(unlocked.keyring)
        self.chunk_form = SealedForm(self.seals)
        self._names = HiddenNames(unlocked.keyring.lasting_key("names"))

    @property
    def is_far(self) -> bool:
        """Whether the other store is."""
        return is_far(self.inner)

    def create(self) -> None:
        self.inner.create()

    def recipe(self) -> Recipe:
        """Return how another process of one's own opens it; the keys are in it."""
        inner = recipes.to_message(recipe_of(self.inner))
        keys = unlocked_format.to_message(self.unlocked)
        return Recipe(f"{__name__}:{reopened.__name__}", {"inner": inner, "keys": keys})

    # --- writing ---

    def stage(self, key: str, buffers: Sequence[Buffer]) -> SealedStaged:
        stored = self._stored(key)
        if passes_as_it_is(key):
            staged = self.inner.stage(stored, buffers)
            return SealedStaged(key, staged.size, staged)
        data = b"".join(memoryview(buffer).cast("B") for buffer in buffers)
        staged = self.inner.stage(stored, [seal_object(self.seals, stored, key, data)])
        return SealedStaged(key, len(data), staged)

    def publish(self, staged: Sequence[Staged]) -> None:
        self.inner.publish(_inner(staged))

    def discard(self, staged: Sequence[Staged]) -> None:
        self.inner.discard(_inner(staged))

    def put(self, key: str, data: Buffer) -> None:
        self.inner.put(self._stored(key), self._sealed(key, data))

    def put_hint(self, key: str, data: Buffer) -> None:
        self.inner.put_hint(self._stored(key), self._sealed(key, data))

    def put_new(self, key: str, data: Buffer) -> bool:
        return self.inner.put_new(self._stored(key), self._sealed(key, data))

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        stored = self._stored(key)
        self.inner.append(stored, seal_line(self.seals, stored, key, data), durable=durable)

    def open_lock(self, key: str) -> SealedLock:
        stored = self._stored(key)
        return SealedLock(self.inner.open_lock(stored), self.seals, stored, key)

    def delete_hint(self, key: str) -> None:
        self.inner.delete_hint(self._stored(key))

    def delete(self, keys: Sequence[str]) -> None:
        self.inner.delete([self._stored(key) for key in keys])

    # --- reading ---

    def get(self, key: str) -> bytes:
        stored = self._stored(key)
        data = self.inner.get(stored)
        return data if passes_as_it_is(key) else self._opened(stored, data)

    def open(self, key: str) -> ObjectReader:
        if passes_as_it_is(key):
            return self.inner.open(self._stored(key))
        return BytesReader(key, self.get(key))

    def exists(self, key: str) -> bool:
        return self.inner.exists(self._stored(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield objects sorted by the keys that they are asked for by.

        The size of a journal is told as if it were one object: a little more than it is.
        """
        found = list(self.inner.list(self._names.stored(prefix)))
        yield from sorted((self._shown(info) for info in found), key=lambda info: info.key)

    def folders(self, prefix: str) -> Sequence[str]:
        stored = self._names.stored(prefix)
        found = [stored + name for name in self.inner.folders(stored)]
        for folder in found:
            self._learn(folder)
        return sorted(self._names.shown(folder).rsplit("/", 1)[-1] for folder in found)

    def clear_debris(self, prefix: str) -> None:
        self.inner.clear_debris(self._names.stored(prefix))

    def free_bytes(self) -> int | None:
        return self.inner.free_bytes()

    # --- keys ---

    def take_up(self, unlocked: Unlocked) -> None:
        """Seal and open with other keys from now on; root and names are the same."""
        self.unlocked = unlocked
        self.seals.take_up(unlocked.keyring)

    def reseal(self, key: str) -> bool:
        """Seal an object with the newest keys, in one step; say whether that was needed.

        Raises:
            SealBroken: It does not open; it is left as it is.
        """
        stored = self._stored(key)
        new = resealed(self.seals, stored, self.inner.get(stored))
        if new is not None:
            self.inner.put(stored, new)
        return new is not None

    # --- sealing ---

    def _stored(self, key: str) -> str:
        return self._names.stored(check_key(key))

    def _sealed(self, key: str, data: Buffer) -> bytes:
        if passes_as_it_is(key):
            return bytes(data)
        return seal_object(self.seals, self._stored(key), key, bytes(data))

    def _opened(self, stored: str, data: bytes) -> bytes:
        key, plain = open_object(self.seals, stored, data)
        if self._names.stored(key) != stored:
            raise broken(stored, "it is another's")
        return plain

    # --- names ---

    def _shown(self, info: ObjectInfo) -> ObjectInfo:
        self._learn(info.key)
        key = self._names.shown(info.key)
        size = info.size if passes_as_it_is(key) else plain_bytes(key, info.size)
        return ObjectInfo(key, size, info.modified_s)

    def _learn(self, stored: str) -> None:
        """Find out the names in a key: what lies there tells, or anything else of the run."""
        parts = stored.split("/")
        names = [parts[at] for at in hidden(parts)]
        if all(self._names.knows(name) for name in names):
            return
        self._learn_from(stored)
        if not self._names.knows(names[0]):
            for info in self.inner.list(f"{parts[0]}/{parts[1]}/"):
                self._learn_from(info.key)
                if self._names.knows(names[0]):
                    return

    def _learn_from(self, stored: str) -> None:
        if not passes_as_it_is(stored) and self.inner.exists(stored):
            # What cannot be read tells nothing; whoever asks for it is told why.
            with suppress(DataError):
                self._opened(stored, self.inner.get(stored))


@final
class SealedLock:
    """A lock whose note is sealed: it tells hosts and processes."""

    def __init__(self, inner: StoreLock, seals: Seals, stored: str, key: str) -> None:
        self._inner, self._seals = inner, seals
        self._stored, self._key = stored, key

    def acquire(self) -> bool:
        return self._inner.acquire()

    def note(self) -> bytes:
        with suppress(DataError):
            return open_object(self._seals, self._stored, self._inner.note())[1]
        return b""

    def write_note(self, note: bytes) -> None:
        self._inner.write_note(seal_object(self._seals, self._stored, self._key, note))

    def close(self) -> None:
        self._inner.close()


def reopened(inner: Mapping[str, Any], keys: Mapping[str, Any]) -> SealedStore:
    """Return the store of a recipe."""
    return SealedStore(recipes.reopen(inner), unlocked_format.from_message(keys))


def passes_as_it_is(key: str) -> bool:
    """Say whether an object passes as it is."""
    parts = key.split("/")
    is_pack = len(parts) > 3 and parts[0] == "runs" and parts[2] == "packs"
    return is_pack or key == MARKER_KEY or key.startswith(KEYRINGS_PREFIX)


def _inner(staged: Sequence[Staged]) -> list[Staged]:
    return [item.inner for item in staged if isinstance(item, SealedStaged)]
