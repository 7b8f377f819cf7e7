"""A store in the memory of this process: the contract and nothing else."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

from holdfast.errors import ChunkMissing
from holdfast.store.bytes_reader import BytesReader
from holdfast.store.contract import Buffer, ObjectInfo, Staged
from holdfast.store.keys import check_key, folders_below

_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class StagedBytes(Staged):
    """An object's bytes, not visible yet."""

    data: bytes


@final
class MemoryStore:
    """Objects in a dict, as durable as the process. Each store is one of its own."""

    def __init__(self) -> None:
        self.location = f"memory:{next(_counter)}"
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._locks: dict[str, MemoryLockState] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "MemoryStore()"

    def clone(self) -> MemoryStore:
        """Return a new store with the objects that this one has now."""
        other = MemoryStore()
        with self._lock:
            other._objects = dict(self._objects)
        return other

    def create(self) -> None:
        """Do nothing: it is there."""

    def stage(self, key: str, buffers: Sequence[Buffer]) -> StagedBytes:
        data = b"".join(buffers)
        return StagedBytes(check_key(key), len(data), data)

    def publish(self, staged: Sequence[Staged]) -> None:
        found = {i.key: (i.data, time.time()) for i in staged if isinstance(i, StagedBytes)}
        with self._lock:
            self._objects.update(found)

    def discard(self, staged: Sequence[Staged]) -> None:
        """Do nothing: what is staged is held by who staged it."""

    def put(self, key: str, data: Buffer) -> None:
        self.publish([self.stage(key, [data])])

    def put_hint(self, key: str, data: Buffer) -> None:
        self.put(key, data)

    def put_new(self, key: str, data: Buffer) -> bool:
        new = bytes(data), time.time()
        with self._lock:
            return self._objects.setdefault(check_key(key), new) is new

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        with self._lock:
            before, _ = self._objects.get(check_key(key), (b"", 0.0))
            self._objects[key] = before + data, time.time()

    def open_lock(self, key: str) -> MemoryLock:
        with self._lock:
            return MemoryLock(self._locks.setdefault(check_key(key), MemoryLockState()))

    def get(self, key: str) -> bytes:
        with self._lock:
            found = self._objects.get(check_key(key))
        if found is None:
            raise ChunkMissing(f"The object {key!r} is not in the store.", key=key)
        return found[0]

    def open(self, key: str) -> BytesReader:
        return BytesReader(key, self.get(key))

    def exists(self, key: str) -> bool:
        with self._lock:
            return check_key(key) in self._objects

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._lock:
            found = sorted(item for item in self._objects.items() if item[0].startswith(prefix))
        for key, (data, modified_s) in found:
            yield ObjectInfo(key, len(data), modified_s)

    def folders(self, prefix: str) -> Sequence[str]:
        with self._lock:
            return folders_below(prefix, self._objects)

    def clear_debris(self, prefix: str) -> None:
        """Do nothing: what dies with a writer dies with the store."""

    def free_bytes(self) -> int | None:
        return None

    def delete_hint(self, key: str) -> None:
        self.delete([key])

    def delete(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._objects.pop(check_key(key), None)


@dataclass(slots=True)
class MemoryLockState:
    """What all locks of one key share."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    note: bytes = b""


@final
class MemoryLock:
    """A lock between the threads of this process."""

    def __init__(self, state: MemoryLockState) -> None:
        self._state = state
        self._is_held = False

    def acquire(self) -> bool:
        self._is_held = self._is_held or self._state.mutex.acquire(blocking=False)
        return self._is_held

    def note(self) -> bytes:
        return self._state.note

    def write_note(self, note: bytes) -> None:
        self._state.note = note

    def close(self) -> None:
        if self._is_held:
            self._is_held = False
            self._state.mutex.release()
