"""Checks of the buffers that an object is written from: many, large, aligned or not."""

from __future__ import annotations

import mmap
import random

from holdfast.store.contract import ObjectStore
from holdfast.testing.store_contract.expecting import KEY, same


def many_buffers_are_written_in_order(store: ObjectStore) -> None:
    """More than one ``writev`` takes (IOV_MAX is 1024), empty ones among them."""
    buffers = [bytes([i % 251]) * (i % 7) for i in range(5000)]
    store.publish([store.stage(KEY, buffers)])
    same(store.get(KEY), b"".join(buffers))


def large_buffers_that_are_not_aligned_are_written_right(store: ObjectStore) -> None:
    """Direct I/O would refuse them."""
    data = random.Random(0).randbytes(3 * (1 << 20) + 17)
    view = memoryview(b"x" + data)[1:]
    parts = [view[:4097], view[4097 : (1 << 20) + 1], view[(1 << 20) + 1 :]]
    store.publish([store.stage(KEY, parts)])
    same(store.get(KEY), data)


def large_page_aligned_buffers_are_written_right(store: ObjectStore) -> None:
    """The way that packs are written."""
    memory = memoryview(mmap.mmap(-1, 4 << 20))
    memory[:] = random.Random(1).randbytes(4 << 20)
    parts = [memory[: 1 << 20], memory[1 << 20 : 3 << 20], memory[3 << 20 :]]
    store.publish([store.stage(KEY, parts)])
    same(store.get(KEY), bytes(memory))


def an_aligned_start_with_a_ragged_end_is_written_right(store: ObjectStore) -> None:
    """What is left at the end is written in another way, perhaps."""
    memory = memoryview(mmap.mmap(-1, 2 << 20))
    memory[:] = random.Random(2).randbytes(2 << 20)
    parts = [memory[: (1 << 20) + 4096 + 5], memory[:13], memory[4096:9000]]
    store.publish([store.stage(KEY, parts)])
    same(store.get(KEY), b"".join(parts))


def elements_wider_than_a_byte_are_written_as_bytes(store: ObjectStore) -> None:
    """The length of a view is not its size."""
    view = memoryview(bytes(range(64))).cast("Q")
    store.publish([store.stage(KEY, [view])])
    same(store.get(KEY), bytes(range(64)))


CHECKS = (
    many_buffers_are_written_in_order,
    large_buffers_that_are_not_aligned_are_written_right,
    large_page_aligned_buffers_are_written_right,
    an_aligned_start_with_a_ragged_end_is_written_right,
    elements_wider_than_a_byte_are_written_as_bytes,
)
