"""``FaultyStore``: any store, with the faults of a plan."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, final

from holdfast.errors import ChunkMissing, HoldfastError, NoSpace, StoreUnavailable
from holdfast.store import recipe as recipes
from holdfast.store.bytes_reader import BytesReader
from holdfast.store.contract import (
    Buffer,
    ObjectInfo,
    ObjectReader,
    ObjectStore,
    Staged,
    StoreLock,
    cut_short,
    is_far,
)
from holdfast.store.keys import folders_below
from holdfast.store.recipe import Recipe, recipe_of
from holdfast.testing import fault_plan
from holdfast.testing.fault_plan import Fault, FaultKind, FaultPlan
from holdfast.testing.lateness import Lateness

_T = TypeVar("_T")
_BEFORE: tuple[FaultKind, ...] = ("no-space", "unavailable", "io-error")


@final
class FaultyStore:
    """A store that does what another one does, but for the faults of a plan.

    A call counts when it is made; calls of several threads count in the order in which they come.
    Each process that opens the store counts for itself.

    Args:
        inner: The store that the objects are in.
        plan: What goes wrong.

    Attributes:
        calls: How often each call was made.
        struck: What went wrong so far, in words.
    """

    def __init__(self, inner: ObjectStore, plan: FaultPlan) -> None:
        self.location = inner.location
        self.inner = inner
        self.plan = plan
        self.calls: Counter[str] = Counter()
        self.struck: list[str] = []
        self._numbers = [0] * len(plan.faults)
        self._strikes = [0] * len(plan.faults)
        self._late = Lateness()
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"FaultyStore({self.inner!r}, {self.plan!r})"

    @property
    def is_far(self) -> bool:
        """Whether the other store is."""
        return is_far(self.inner)

    def recipe(self) -> Recipe:
        arguments = {
            "inner": recipes.to_message(recipe_of(self.inner)),
            "plan": fault_plan.to_message(self.plan),
        }
        return Recipe("holdfast.testing.faulty:reopened", arguments)

    def settle(self) -> None:
        """Let everything be seen as it is."""
        with self._lock:
            self._late.settle()

    # --- writing ---

    def create(self) -> None:
        self._effect("create", (), lambda _: self.inner.create())

    def stage(self, key: str, buffers: Sequence[Buffer]) -> Staged:
        faults = self._begin("stage", (key,))
        if _has(faults, "short"):
            return self.inner.stage(key, [_half(b"".join(buffers))])
        return self.inner.stage(key, buffers)

    def publish(self, staged: Sequence[Staged]) -> None:
        keys = tuple(item.key for item in staged)
        try:
            self._effect("publish", keys, lambda faults: self._publish(staged, faults))
        except HoldfastError:
            # As the contract has it, what was not published is gone.
            self.inner.discard(staged)
            raise

    def _publish(self, staged: Sequence[Staged], faults: Sequence[Fault]) -> None:
        if not _has(faults, "torn"):
            self.inner.publish(staged)
            return
        whole, rest = staged[: len(staged) // 2], staged[len(staged) // 2 :]
        self.inner.publish([*whole, *rest[:1]])
        self.inner.discard(rest[1:])
        for item in rest[:1]:
            self.inner.put(item.key, _half(self.inner.get(item.key)))

    def discard(self, staged: Sequence[Staged]) -> None:
        self.inner.discard(staged)

    def put(self, key: str, data: Buffer) -> None:
        self._write("put", key, data, self.inner.put)

    def put_hint(self, key: str, data: Buffer) -> None:
        self._write("put_hint", key, data, self.inner.put_hint)

    def put_new(self, key: str, data: Buffer) -> bool:
        return self._write("put_new", key, data, self.inner.put_new)

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        self._write("append", key, data, partial(self.inner.append, durable=durable))

    def delete(self, keys: Sequence[str]) -> None:
        def effect(faults: Sequence[Fault]) -> None:
            self.inner.delete(keys[: len(keys) // 2] if _has(faults, "torn") else keys)

        self._effect("delete", tuple(keys), effect)

    def delete_hint(self, key: str) -> None:
        self._effect("delete_hint", (key,), lambda _: self.inner.delete_hint(key))

    def clear_debris(self, prefix: str) -> None:
        self._effect("clear_debris", (prefix,), lambda _: self.inner.clear_debris(prefix))

    def open_lock(self, key: str) -> StoreLock:
        self._begin("open_lock", (key,))
        return self.inner.open_lock(key)

    # --- reading ---

    def get(self, key: str) -> bytes:
        faults = self._begin("get", (key,))
        data = self._seen(key, self.inner.get)
        return _half(data) if _has(faults, "short") else data

    def open(self, key: str) -> ObjectReader:
        faults = self._begin("open", (key,))
        with self._lock:
            before = self._late.shown(key)
        reader = self.inner.open(key) if before is None else _old(key, before.data)
        size = reader.size // 2 if _has(faults, "short") else reader.size
        return _FaultyReader(key, reader, size, lambda: self._begin("read", (key,)))

    def exists(self, key: str) -> bool:
        self._begin("exists", (key,))
        with self._lock:
            before = self._late.shown(key)
        return self.inner.exists(key) if before is None else before.data is not None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._begin("list", (prefix,))
        real = list(self.inner.list(prefix))
        with self._lock:
            return self._late.listing(prefix, real)

    def folders(self, prefix: str) -> Sequence[str]:
        self._begin("folders", (prefix,))
        with self._lock:
            names = self.inner.folders(prefix)
            seen = [info.key for info in self._late.listing(prefix, ())]
            for folder in (f"{prefix}{name}/" for name in names):
                seen += [info.key for info in self._late.listing(folder, self.inner.list(folder))]
        return folders_below(prefix, seen)

    def free_bytes(self) -> int | None:
        return self.inner.free_bytes()

    # --- what goes wrong ---

    def _write(self, call: str, key: str, data: Buffer, write: Callable[[str, Any], _T]) -> _T:
        def effect(faults: Sequence[Fault]) -> _T:
            is_half = _has(faults, "torn") or _has(faults, "short")
            return write(key, _half(data) if is_half else data)

        return self._effect(call, (key,), effect)

    def _effect(
        self, call: str, keys: tuple[str, ...], effect: Callable[[Sequence[Fault]], _T]
    ) -> _T:
        faults = self._begin(call, keys)
        if _has(faults, "kill-before"):
            _die()
        late = [fault for fault in faults if fault.kind == "late"]
        before = {key: self._content(key) for key in keys} if late else {}
        result = effect(faults)
        with self._lock:
            for key, data in before.items():
                self._late.hold_back(key, data, max(fault.calls for fault in late))
        if _has(faults, "kill-after"):
            _die()
        for fault in faults:
            if fault.kind in ("lost-ack", "torn"):
                raise _error(fault, call, keys)
        return result

    def _begin(self, call: str, keys: tuple[str, ...]) -> Sequence[Fault]:
        """Count a call; wait, or raise, if that is its fault; return the faults to be made."""
        with self._lock:
            self.calls[call] += 1
            self._late.tick()
            faults = [f for i, f in enumerate(self.plan.faults) if self._is_struck(i, call, keys)]
        for fault in faults:
            if fault.kind == "delay":
                time.sleep(fault.delay_s)
        for fault in faults:
            if fault.kind in _BEFORE:
                raise _error(fault, call, keys)
        return faults

    def _is_struck(self, index: int, call: str, keys: tuple[str, ...]) -> bool:
        fault = self.plan.faults[index]
        if not fault.concerns(call, keys):
            return False
        number = self._numbers[index]
        self._numbers[index] += 1
        if not self.plan.strikes(index, number, self._strikes[index]):
            return False
        self._strikes[index] += 1
        self.struck.append(f"{fault!r} at call {number} of {call} {', '.join(keys)}")
        return True

    def _seen(self, key: str, read: Callable[[str], bytes]) -> bytes:
        with self._lock:
            before = self._late.shown(key)
        if before is None:
            return read(key)
        if before.data is None:
            raise _missing(key)
        return before.data

    def _content(self, key: str) -> bytes | None:
        try:
            return self.inner.get(key)
        except ChunkMissing:
            return None


def reopened(inner: Mapping[str, Any], plan: Mapping[str, Any]) -> FaultyStore:
    """Return the store of a recipe."""
    return FaultyStore(recipes.reopen(inner), fault_plan.from_message(plan))


@final
class _FaultyReader:
    """An open object whose reads may go wrong, and whose end may come early."""

    def __init__(
        self, key: str, inner: ObjectReader, size: int, begin: Callable[[], object]
    ) -> None:
        self.size = size
        self._key, self._inner, self._begin = key, inner, begin

    def read(self, into: memoryview, offset: int) -> None:
        self._check(into, offset)
        self._inner.read(into, offset)

    def is_cached(self, offset: int, nbytes: int) -> bool:
        return offset + nbytes <= self.size and self._inner.is_cached(offset, nbytes)

    def read_cached(self, into: memoryview, offset: int) -> bool:
        if offset + into.nbytes > self.size:
            return False
        self._begin()
        return self._inner.read_cached(into, offset)

    def read_uncached(self, into: memoryview, offset: int) -> None:
        self._check(into, offset)
        self._inner.read_uncached(into, offset)

    def close(self) -> None:
        self._inner.close()

    def _check(self, into: memoryview, offset: int) -> None:
        self._begin()
        if offset + into.nbytes > self.size:
            raise cut_short(self._key, self.size)


def _has(faults: Sequence[Fault], kind: FaultKind) -> bool:
    return any(fault.kind == kind for fault in faults)


def _half(data: Buffer) -> bytes:
    return bytes(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])


def _old(key: str, data: bytes | None) -> ObjectReader:
    if data is None:
        raise _missing(key)
    return BytesReader(key, data)


def _missing(key: str) -> ChunkMissing:
    return ChunkMissing(f"The object {key!r} is not in the store yet, or not any more.", key=key)


def _error(fault: Fault, call: str, keys: Sequence[str]) -> HoldfastError:
    text = f"Injected: {fault!r}, in {call} {', '.join(keys)}."
    if fault.kind == "no-space":
        return NoSpace(text, key=next(iter(keys), ""), errno=errno.ENOSPC)
    code = errno.EIO if fault.kind == "io-error" else errno.ENETDOWN
    return StoreUnavailable(text, key=next(iter(keys), ""), errno=code)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
