"""What was read waits in lent memory, or changes places with what stands and is put back."""

from __future__ import annotations

import random

import pytest
from played_disk import PlayedDisk

from holdfast.chunks.batch import ChunkRead
from holdfast.chunks.read import read_chunks
from holdfast.chunks.staging import Staging, copy_held
from holdfast.chunks.targets import Target
from holdfast.errors import ChunkDamaged
from holdfast.format.digests import check, digest
from holdfast.format.part import ChunkRow
from holdfast.testing.memory import MemoryStore

SIZES = [1, 4095, 4096, 256 << 10, (256 << 10) + 1, 3 << 20]


@pytest.mark.parametrize("nbytes", SIZES)
def test_what_was_exchanged_is_put_back(nbytes: int) -> None:
    new, old = random.Random(1).randbytes(nbytes), random.Random(2).randbytes(nbytes)
    staging, standing = Staging(memoryview(bytearray(4 << 20))), bytearray(old)
    lent = staging.lend(nbytes)
    lent[:nbytes] = new
    staging.expect(2)
    staging.hold(memoryview(standing), lent[:nbytes])
    staging.arrived()  # One more is to come: there is time.
    assert standing == new
    assert staging.take() == []
    staging.put_back()
    assert standing == old


@pytest.mark.parametrize("nbytes", SIZES)
def test_what_came_last_waits_until_it_is_copied(nbytes: int) -> None:
    new, old = random.Random(1).randbytes(nbytes), random.Random(2).randbytes(nbytes)
    staging, standing = Staging(memoryview(bytearray(4 << 20))), bytearray(old)
    staging.expect(1)
    staging.hold(memoryview(standing), memoryview(new))
    staging.arrived()
    assert standing == old
    staging.put_back()
    assert standing == old
    (portion,) = staging.take()
    copy_held(portion)
    assert standing == new


def test_what_is_held_is_taken_in_portions_that_lose_nothing() -> None:
    staging = Staging(memoryview(b""))
    new = [random.Random(n).randbytes(5 << 20) for n in range(5)]
    standing = [bytearray(len(data)) for data in new]
    for memory, data in zip(standing, new, strict=True):
        staging.hold(memoryview(memory), memoryview(data))
    portions = staging.take()
    assert [len(portion) for portion in portions] == [2, 2, 1]
    for portion in portions:
        copy_held(portion)
    assert standing == new


def test_lent_memory_is_aligned_and_never_lent_twice() -> None:
    staging = Staging(memoryview(bytearray(5 * 4096)))
    first, second = staging.lend(1), staging.lend(4097)
    assert (first.nbytes, second.nbytes, staging.room) == (4096, 8192, 2 * 4096)
    first[:], second[:] = b"a" * 4096, b"b" * 8192
    assert bytes(first) == b"a" * 4096


def test_a_little_more_than_there_is_may_be_lent() -> None:
    staging = Staging(memoryview(bytearray(2 * 4096)), more_bytes=3 * 4096)
    held = [staging.lend(1), staging.lend(2 * 4096), staging.lend(4096)]
    assert staging.room == 4096
    for n, memory in enumerate(held):
        memory[:] = bytes([n]) * memory.nbytes
    assert [set(memory) for memory in held] == [{0}, {1}, {2}]


def test_what_does_not_fit_is_all_that_is_read_twice() -> None:
    chunks = [random.Random(n).randbytes(4096) for n in range(20)]
    store = PlayedDisk(cached=False)
    store.put("p", b"".join(chunks))
    standing = [bytearray(4096) for _ in chunks]
    reads = [
        ChunkRead(ChunkRow(digest(c), check(c), 4096, 0, n * 4096), "p", [target], True, "w")
        for n, c in enumerate(chunks)
        for target in [Target(0, memoryview(standing[n]))]
    ]
    # Sixteen, and an eighth of that besides; all twenty lie side by side.
    read_chunks(store, reads, ref="r@1", spare=memoryview(bytearray(16 * 4096)))
    assert standing == chunks
    assert store.uncached_bytes == (20 + 2) * 4096


@pytest.mark.parametrize("is_good", [True, False])
def test_a_chunk_that_goes_to_several_places(is_good: bool) -> None:
    """Some of them take the same bytes of it, as arrays do that were saved as equal ones."""
    data = random.Random(3).randbytes(300_000)
    store = MemoryStore()
    store.put("p", data if is_good else b"\0" + data[1:])
    places = [(0, 100_000), (50_000, 300_000), (0, 100_000), (200_000, 250_000), (300_000, 300_000)]
    standing = [bytearray(b"x" * (end - begin)) for begin, end in places]
    targets = [
        Target(begin, memoryview(memory))
        for (begin, _), memory in zip(places, standing, strict=True)
        if memory
    ]
    row = ChunkRow(digest(data), check(data), len(data), 0, 0)
    read = ChunkRead(row, "p", targets, True, "w")
    spare = memoryview(bytearray(1 << 20))
    if is_good:
        read_chunks(Uncached(store), [read], ref="r@1", spare=spare)
        assert standing == [data[begin:end] for begin, end in places]
    else:
        with pytest.raises(ChunkDamaged):
            read_chunks(Uncached(store), [read], ref="r@1", spare=spare)
        assert standing == [b"x" * (end - begin) for begin, end in places]


def test_a_later_chunk_that_is_damaged_puts_earlier_ones_back() -> None:
    good, bad = random.Random(4).randbytes(5000), random.Random(5).randbytes(5000)
    store = MemoryStore()
    store.put("p", good + bytes(8192 - 5000) + bytes(5000))
    standing = [bytearray(b"x" * 5000) for _ in range(2)]
    reads = [
        ChunkRead(
            ChunkRow(digest(data), check(data), 5000, 0, offset),
            "p",
            [Target(0, memoryview(memory))],
            True,
            "w",
        )
        for data, offset, memory in zip((good, bad), (0, 8192), standing, strict=True)
    ]
    with pytest.raises(ChunkDamaged):
        read_chunks(Uncached(store), reads, ref="r@1", spare=memoryview(bytearray(1 << 20)))
    assert standing == [b"x" * 5000] * 2


class Uncached:
    """A store of which nothing is in memory yet."""

    def __init__(self, store: MemoryStore) -> None:
        self.open_inner = store.open

    def open(self, key: str) -> object:
        reader = self.open_inner(key)
        reader.is_cached = lambda offset, nbytes: False
        return reader
