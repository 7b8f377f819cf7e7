"""Checks of readers."""

from __future__ import annotations

import mmap
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from holdfast.errors import ChunkDamaged, ChunkMissing
from holdfast.store.contract import ObjectStore
from holdfast.testing.store_contract.expecting import KEY, raises, same, true


def a_reader_reads_any_stretch(store: ObjectStore) -> None:
    """Chunks lie anywhere in a pack."""
    data = random.Random(3).randbytes(20_000)
    store.put(KEY, data)
    with closing(store.open(KEY)) as reader:
        same(reader.size, 20_000)
        for begin, n in [(0, 20_000), (1, 1), (4095, 4098), (19_999, 1), (20_000, 0)]:
            into = bytearray(n)
            reader.read(memoryview(into), begin)
            same(bytes(into), data[begin : begin + n])


def an_uncached_read_gives_the_same_bytes(store: ObjectStore) -> None:
    """Past the caches, up to a ragged end."""
    data = random.Random(4).randbytes(3 * 4096 + 100)
    store.put(KEY, data)
    memory = memoryview(mmap.mmap(-1, 4 * 4096))
    with closing(store.open(KEY)) as reader:
        reader.read_uncached(memory[:4096], 4096)
        same(bytes(memory[:4096]), data[4096:8192])
        reader.read_uncached(memory[: 2 * 4096 + 100], 4096)
        same(bytes(memory[: 2 * 4096 + 100]), data[4096:])


def a_cached_read_gives_the_bytes_or_says_no(store: ObjectStore) -> None:
    """It never gives others."""
    data = random.Random(5).randbytes(50_000)
    store.put(KEY, data)
    into = bytearray(30_000)
    with closing(store.open(KEY)) as reader:
        if reader.is_cached(7, 30_000) and reader.read_cached(memoryview(into), 7):
            same(bytes(into), data[7:30_007])
        reader.read(memoryview(into), 20_000)
        same(bytes(into), data[20_000:])


def reading_past_the_end_is_an_error(store: ObjectStore) -> None:
    """An object that was cut short is damaged, and never padded."""
    store.put(KEY, bytes(100))
    with closing(store.open(KEY)) as reader:
        for begin in (90, 100, 5000):
            page = memoryview(mmap.mmap(-1, 4096))[:20]
            for read in (reader.read, reader.read_uncached):
                raises(ChunkDamaged, lambda r=read, p=page, b=begin: r(p, b), "cut short")  # type: ignore[misc]
            true(not reader.is_cached(begin, 20), "what is not there is called cached")
            same(reader.read_cached(memoryview(bytearray(20)), begin), False)


def several_threads_read_from_one_reader(store: ObjectStore) -> None:
    """Restores do."""
    data = random.Random(6).randbytes(1 << 20)
    store.put(KEY, data)

    def read(i: int) -> bool:
        into = memoryview(mmap.mmap(-1, 8192))
        begin = i * 4096
        (reader.read_uncached if i % 2 else reader.read)(into, begin)
        return bytes(into) == data[begin : begin + 8192]

    with closing(store.open(KEY)) as reader, ThreadPoolExecutor(4) as pool:
        true(all(pool.map(read, range(255))), "threads disturb each other")


def an_open_object_outlives_its_replacement(store: ObjectStore) -> None:
    """Repair replaces what somebody is reading."""
    store.put(KEY, b"old")
    with closing(store.open(KEY)) as reader:
        store.put(KEY, b"replacement")
        into = bytearray(3)
        reader.read(memoryview(into), 0)
    same(bytes(into), b"old")


def what_is_not_there_is_missing(store: ObjectStore) -> None:
    """That it is missing is told as such, and not as trouble with the store."""
    store.put("runs/r/packs/0/other", b"x")
    for key in (KEY, "nothing", "runs/r/packs/1"):
        true(not store.exists(key), f"{key!r} is said to exist")
        raises(ChunkMissing, lambda key=key: store.get(key), "not in the store")  # type: ignore[misc]
        raises(ChunkMissing, lambda key=key: store.open(key), "not in the store")  # type: ignore[misc]


CHECKS = (
    a_reader_reads_any_stretch,
    an_uncached_read_gives_the_same_bytes,
    a_cached_read_gives_the_bytes_or_says_no,
    reading_past_the_end_is_an_error,
    several_threads_read_from_one_reader,
    an_open_object_outlives_its_replacement,
    what_is_not_there_is_missing,
)
