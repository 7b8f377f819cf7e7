"""Chunks into a store: each once, all or none, and never on trust."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from holdfast.chunks import packing
from holdfast.chunks.source import Abandoned
from holdfast.chunks.stored import Stored
from holdfast.chunks.write import Written, write_chunks
from holdfast.errors import IncompleteWrite, NoSpace, StoreUnavailable
from holdfast.format.digests import check, digest
from holdfast.plan import packs
from holdfast.plan.layout import CHUNK_ALIGNMENT, Layout, align
from holdfast.store.contract import Buffer, Staged
from holdfast.testing.memory import MemoryStore


def layout_of(lengths: Sequence[int]) -> Layout:
    return Layout((), list(lengths), [0] * len(lengths), 0)


class Source:
    """Chunks in memory, padded; counts what is asked for, and lets some arrive early."""

    def __init__(self, chunks: Sequence[bytes], early: Sequence[int] = ()) -> None:
        self.early = early
        self._chunks = [c + bytes(align(len(c), CHUNK_ALIGNMENT) - len(c)) for c in chunks]
        self.acquired: set[int] = set()
        self.released: list[int] = []
        self.abandoned = threading.Event()

    def arriving(self) -> Iterator[int]:
        yield from self.early

    def acquire(self, chunk: int) -> memoryview:
        if self.abandoned.is_set():
            raise Abandoned
        self.acquired.add(chunk)
        return memoryview(self._chunks[chunk])

    def release(self, chunk: int) -> None:
        self.released.append(chunk)

    def abandon(self) -> None:
        self.abandoned.set()


def content(n: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(n)


def write(
    store: Any,
    chunks: Sequence[bytes],
    *,
    save: str = "s",
    source: Source | None = None,
    known: Mapping[bytes, Stored] | None = None,
    unchanged: Mapping[int, Stored] | None = None,
    is_intact: Callable[[Stored], bool] | None = None,
) -> Written:
    return write_chunks(
        store,
        layout_of([len(c) for c in chunks]),
        source or Source(chunks),
        pack_key=lambda n: f"packs/{save}-{n}",
        manifest=lambda written: (f"parts/{save}", b"manifest of %d" % len(written.places)),
        known=known or {},
        unchanged=lambda: unchanged or {},
        is_intact=is_intact,
    )


def stored(store: MemoryStore, place: Stored, length: int) -> bytes:
    return store.get(place.pack_key)[place.offset : place.offset + length]


def all_known(written: Written) -> dict[bytes, Stored]:
    return {place.digest: place for place in written.places}


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 20_000)


CHUNKS = [content(n, n) for n in (5, 5000, 4096, 12_000, 1, 30_000, 8192, 100)]


def test_every_chunk_lies_where_its_place_says(small_packs: None) -> None:
    store, source = MemoryStore(), Source(CHUNKS)
    written = write(store, CHUNKS, source=source)
    for place, chunk in zip(written.places, CHUNKS, strict=True):
        assert stored(store, place, len(chunk)) == chunk
        assert (place.digest, place.check) == (digest(chunk), check(chunk))
        assert place.offset % CHUNK_ALIGNMENT == 0
        assert place.pack_length == len(store.get(place.pack_key))
    keys = [info.key for info in store.list("packs/")]
    assert keys == ["packs/s-0", "packs/s-1", "packs/s-2"]
    assert written.new_bytes == sum(info.size for info in store.list("packs/"))
    assert sorted(source.released) == list(range(len(CHUNKS)))


def test_the_manifest_is_written_with_the_packs(small_packs: None) -> None:
    store = MemoryStore()
    write(store, CHUNKS)
    assert store.get("parts/s") == b"manifest of 8"


def test_what_lies_between_chunks_is_zero() -> None:
    store = MemoryStore()
    write(store, CHUNKS[:2])
    data = store.get("packs/s-0")
    assert data[5:4096] == bytes(4091)
    assert len(data) == 4096 + 8192


def test_nothing_but_a_manifest_is_written_for_no_chunks() -> None:
    store = MemoryStore()
    written = write(store, [])
    assert (written.places, written.new_bytes) == ([], 0)
    assert [info.key for info in store.list("")] == ["parts/s"]


def test_equal_chunks_are_written_once() -> None:
    store, source = MemoryStore(), Source([CHUNKS[1]] * 3 + [CHUNKS[0]])
    chunks = [CHUNKS[1]] * 3 + [CHUNKS[0]]
    written = write(store, chunks, source=source)
    assert written.new_bytes == 8192 + 4096
    assert written.places[0] == written.places[1] == written.places[2] != written.places[3]
    assert sorted(source.released) == [0, 1, 2, 3]


def test_known_chunks_are_not_written_again() -> None:
    store = MemoryStore()
    first = write(store, CHUNKS)
    changed = [*CHUNKS[:3], content(12_000, 99), *CHUNKS[4:]]
    second = write(store, changed, save="t", known=all_known(first))
    assert second.new_bytes == align(12_000, CHUNK_ALIGNMENT)
    assert second.places[:3] == first.places[:3]
    assert second.places[3].pack_key == "packs/t-0"


def test_known_chunks_that_are_not_intact_are_written_again() -> None:
    store = MemoryStore()
    first = write(store, CHUNKS)
    bad = first.places[3]
    asked = []

    def is_intact(place: Stored) -> bool:
        asked.append(place)
        return place != bad

    second = write(store, CHUNKS, save="t", known=all_known(first), is_intact=is_intact)
    assert sorted(asked, key=str) == sorted(first.places, key=str)
    assert [place.length for place in first.places] == [len(c) for c in CHUNKS]
    assert second.new_bytes == 12_288
    assert stored(store, second.places[3], 12_000) == CHUNKS[3]
    assert second.places[3].pack_key == "packs/t-0"


def test_unchanged_chunks_are_not_even_read() -> None:
    store = MemoryStore()
    first = write(store, CHUNKS)
    source = Source(CHUNKS)
    unchanged = {i: first.places[i] for i in range(8) if i != 2}
    second = write(store, CHUNKS, save="t", source=source, unchanged=unchanged)
    assert source.acquired == {2}
    assert [p.pack_key for p in second.places] == ["packs/s-0"] * 2 + ["packs/t-0"] + [
        "packs/s-0"
    ] * 5


def test_chunks_are_written_before_the_last_one_has_come(small_packs: None) -> None:
    class Telling(MemoryStore):  # type: ignore[misc]
        staged = threading.Event()

        def stage(self, key: str, buffers: Sequence[Buffer]) -> Any:
            self.staged.set()
            return super().stage(key, buffers)

    class Slow(Source):
        def arriving(self) -> Iterator[int]:
            yield from super().arriving()
            # The rest comes only once the first ones are on their way.
            assert store.staged.wait(60)

    store, early = Telling(), [5, 1, 3]
    source = Slow(CHUNKS, early)
    written = write(store, CHUNKS, source=source)
    assert [stored(store, p, len(c)) for p, c in zip(written.places, CHUNKS, strict=True)] == CHUNKS
    assert [p.digest for p in written.places] == [digest(c) for c in CHUNKS]
    assert [p.check for p in written.places] == [check(c) for c in CHUNKS]
    assert sorted(source.released) == list(range(len(CHUNKS)))


def test_early_and_unchanged_and_known_chunks_go_together(small_packs: None) -> None:
    store = MemoryStore()
    first = write(store, CHUNKS)
    new = list(CHUNKS)
    new[1], new[6] = content(7000, 71), content(7000, 76)
    source = Source(new, early=[6])
    unchanged = {i: first.places[i] for i in (0, 2, 3)}
    second = write(store, new, save="t", source=source, unchanged=unchanged, known=all_known(first))
    assert [stored(store, p, len(c)) for p, c in zip(second.places, new, strict=True)] == new
    assert second.new_bytes == 2 * 8192
    assert source.acquired == {1, 4, 5, 6, 7}


def test_nothing_is_left_of_chunks_that_came_early_when_the_rest_does_not(
    small_packs: None,
) -> None:
    class Interrupted(Source):
        def arriving(self) -> Iterator[int]:
            yield from super().arriving()
            raise StoreUnavailable("the snapshot was interrupted")

    store = MemoryStore()
    with pytest.raises(StoreUnavailable, match="interrupted"):
        write(store, CHUNKS, source=Interrupted(CHUNKS, early=range(8)))
    assert list(store.list("")) == []


def test_tables_name_each_pack_once() -> None:
    store = MemoryStore()
    first = write(store, CHUNKS[:3])
    second = write(store, CHUNKS[:4], save="t", known=all_known(first))
    rows, pack_rows = second.tables()
    assert [(p.key, p.length) for p in pack_rows] == [("packs/s-0", 16_384), ("packs/t-0", 12_288)]
    assert [(r.length, r.pack) for r in rows] == [(5, 0), (5000, 0), (4096, 0), (12_000, 1)]


# --- failures: nothing is left, and whoever waits is woken ---


class Failing:
    """A memory store of which one method fails at its n-th call."""

    def __init__(self, method: str, nth: int, error: BaseException) -> None:
        self.inner = MemoryStore()
        self.location = self.inner.location
        self._method, self._left, self._error = method, nth, error
        self._lock = threading.Lock()
        self.failed = threading.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name != self._method:
            return found

        def call(*args: Any) -> Any:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self.failed.set()
                    raise self._error
            return found(*args)

        return call


@pytest.mark.parametrize("method", ["stage", "publish"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("error", [NoSpace("full"), StoreUnavailable("gone"), KeyboardInterrupt()])
def test_nothing_is_left_when_the_store_fails(
    small_packs: None, monkeypatch: pytest.MonkeyPatch, method: str, nth: int, error: BaseException
) -> None:
    monkeypatch.setattr(packing, "PUBLISH_EVERY", 1)
    chunks = [content(9_000, i) for i in range(20)]
    store, source = Failing(method, nth, error), Source(chunks)
    with pytest.raises(type(error)):
        write(store, chunks, source=source)
    assert [info.key for info in store.inner.list("")] == []
    assert source.abandoned.is_set()


def test_a_store_that_takes_less_than_it_was_given_is_found_out() -> None:
    class Short(MemoryStore):  # type: ignore[misc]
        def stage(self, key: str, buffers: Sequence[Buffer]) -> Any:
            return super().stage(key, [b"".join(buffers)[:-4096]])

    store = Short()
    with pytest.raises(IncompleteWrite, match="Nothing was committed"):
        write(store, CHUNKS)
    assert [info.key for info in store.list("")] == []


def test_a_source_that_fails_is_told() -> None:
    class Broken(Source):
        def acquire(self, chunk: int) -> memoryview:
            if chunk == 3:
                raise StoreUnavailable("the source is gone")
            return super().acquire(chunk)

    store = MemoryStore()
    with pytest.raises(StoreUnavailable, match="source"):
        write(store, CHUNKS, source=Broken(CHUNKS))
    assert [info.key for info in store.list("")] == []


def test_a_full_disk_is_told_before_everything_is_read(small_packs: None) -> None:
    # The save ends soon after the first failure, not when all of it has been digested.
    chunks = [content(9_000, i) for i in range(3000)]
    store = Failing("stage", 1, NoSpace("full"))

    class Paced(Source):
        def acquire(self, chunk: int) -> memoryview:
            if chunk == 100:
                assert store.failed.wait(60)
            if chunk == 2999:
                self.abandoned.wait(60)
            return super().acquire(chunk)

    source = Paced(chunks)
    with pytest.raises(NoSpace):
        write(store, chunks, source=source)
    assert 2999 not in source.acquired


def test_many_packs_are_published_on_the_way(
    small_packs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Staged objects are open files: only so many at a time.
    monkeypatch.setattr(packing, "PUBLISH_EVERY", 4)
    most = 0

    class Counting(MemoryStore):  # type: ignore[misc]
        staged = 0
        counting = threading.Lock()

        def stage(self, key: str, buffers: Sequence[Buffer]) -> Any:
            nonlocal most
            with self.counting:
                self.staged += 1
                most = max(most, self.staged)
            return super().stage(key, buffers)

        def publish(self, staged: Sequence[Staged]) -> None:
            super().publish(staged)
            with self.counting:
                self.staged -= len(staged)

    chunks = [content(20_000, i) for i in range(60)]
    store = Counting()
    written = write(store, chunks)
    assert most <= 9
    for place, chunk in zip(written.places, chunks, strict=True):
        assert stored(store, place, len(chunk)) == chunk
