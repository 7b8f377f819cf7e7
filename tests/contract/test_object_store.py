"""What everything above the stores relies on; every store passes this one suite."""

from __future__ import annotations

import mmap
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from holdfast.errors import ChunkDamaged, ChunkMissing, UsageError
from holdfast.store.contract import ObjectStore

KEY = "runs/r/packs/0/00000"


def keys(store: ObjectStore, prefix: str = "runs/") -> list[str]:
    return [info.key for info in store.list(prefix)]


def content(store: ObjectStore, key: str) -> bytes:
    with closing(store.open(key)) as reader:
        data = bytearray(reader.size)
        reader.read(memoryview(data), 0)
    return bytes(data)


# --- what is staged is not there until it is published ---


def test_a_staged_object_is_invisible_until_it_is_published(store: ObjectStore) -> None:
    staged = store.stage(KEY, [b"one", bytearray(b"two"), memoryview(b"three")])
    assert (staged.key, staged.size) == (KEY, 11)
    assert not store.exists(KEY)
    assert keys(store) == []
    with pytest.raises(ChunkMissing):
        store.get(KEY)
    store.publish([staged])
    assert store.exists(KEY)
    assert keys(store) == [KEY]
    assert store.get(KEY) == b"onetwothree"


def test_several_objects_are_published_together(store: ObjectStore) -> None:
    names = [f"runs/r/packs/{i}/{n}" for i in range(3) for n in range(3)]
    store.publish([store.stage(name, [name.encode()]) for name in names])
    assert {name: store.get(name) for name in names} == {name: name.encode() for name in names}


def test_publishing_nothing_is_fine(store: ObjectStore) -> None:
    store.publish([])


def test_publishing_replaces_what_was_there(store: ObjectStore) -> None:
    store.put(KEY, b"old, and longer")
    store.publish([store.stage(KEY, [b"new"])])
    assert store.get(KEY) == b"new"


def test_discarded_objects_never_appear(store: ObjectStore) -> None:
    kept, dropped = store.stage("runs/a", [b"1"]), store.stage("runs/b", [b"2"])
    store.discard([dropped])
    store.discard([dropped])
    store.publish([kept])
    assert keys(store) == ["runs/a"]


def test_the_callers_buffers_may_change_once_stage_has_returned(store: ObjectStore) -> None:
    buffer = bytearray(b"before")
    staged = store.stage(KEY, [buffer])
    buffer[:] = b"after!"
    store.publish([staged])
    assert store.get(KEY) == b"before"


def test_objects_may_be_empty(store: ObjectStore) -> None:
    store.publish([store.stage(KEY, [])])
    store.put("runs/b", b"")
    assert store.get(KEY) == store.get("runs/b") == b""
    assert [info.size for info in store.list("runs/")] == [0, 0]


# --- buffers of all sorts ---


def test_many_buffers_are_written_in_order(store: ObjectStore) -> None:
    # More than one writev takes (IOV_MAX is 1024), empty ones among them.
    buffers = [bytes([i % 251]) * (i % 7) for i in range(5000)]
    store.publish([store.stage(KEY, buffers)])
    assert store.get(KEY) == b"".join(buffers)


def test_large_buffers_that_are_not_aligned_are_written_right(store: ObjectStore) -> None:
    data = random.Random(0).randbytes(3 * (1 << 20) + 17)
    view = memoryview(b"x" + data)[1:]
    parts = [view[:4097], view[4097 : (1 << 20) + 1], view[(1 << 20) + 1 :]]
    store.publish([store.stage(KEY, parts)])
    assert store.get(KEY) == data


def test_large_page_aligned_buffers_are_written_right(store: ObjectStore) -> None:
    memory = memoryview(mmap.mmap(-1, 4 << 20))
    memory[:] = random.Random(1).randbytes(4 << 20)
    parts = [memory[: 1 << 20], memory[1 << 20 : 3 << 20], memory[3 << 20 :]]
    store.publish([store.stage(KEY, parts)])
    assert store.get(KEY) == memory


def test_an_aligned_start_with_a_ragged_end_is_written_right(store: ObjectStore) -> None:
    memory = memoryview(mmap.mmap(-1, 2 << 20))
    memory[:] = random.Random(2).randbytes(2 << 20)
    parts = [memory[: (1 << 20) + 4096 + 5], memory[:13], memory[4096:9000]]
    store.publish([store.stage(KEY, parts)])
    assert store.get(KEY) == b"".join(parts)


def test_elements_wider_than_a_byte_are_written_as_bytes(store: ObjectStore) -> None:
    view = memoryview(bytes(range(64))).cast("Q")
    store.publish([store.stage(KEY, [view])])
    assert store.get(KEY) == bytes(range(64))


# --- put, put_hint and put_new ---


def test_put_replaces(store: ObjectStore) -> None:
    store.put(KEY, b"first")
    store.put(KEY, bytearray(b"second"))
    assert store.get(KEY) == b"second"


def test_a_hint_is_there_at_once_and_can_be_taken_back(store: ObjectStore) -> None:
    store.put_hint(KEY, b"first")
    store.put_hint(KEY, bytearray(b"second"))
    assert store.get(KEY) == b"second"
    assert keys(store) == [KEY]
    store.delete_hint(KEY)
    store.delete_hint(KEY)
    store.delete_hint("runs/none/at/all")
    assert keys(store) == []
    assert not store.exists(KEY)


def test_put_new_never_replaces(store: ObjectStore) -> None:
    assert store.put_new(KEY, b"first") is True
    assert store.put_new(KEY, b"second") is False
    assert store.put_new(KEY, b"first") is False
    assert store.get(KEY) == b"first"
    assert keys(store) == [KEY]


def test_put_new_takes_a_key_that_was_deleted(store: ObjectStore) -> None:
    store.put_new(KEY, b"first")
    store.delete([KEY])
    assert store.put_new(KEY, b"second") is True
    assert store.get(KEY) == b"second"


def test_of_racing_writers_exactly_one_puts_a_new_object(store: ObjectStore) -> None:
    threads = 8
    for turn in range(20):
        start = threading.Barrier(threads)

        def write(i: int, start: threading.Barrier = start, turn: int = turn) -> bool:
            start.wait()
            return store.put_new(f"runs/r/commits/{turn:012d}", b"%d" % i * 100)

        with ThreadPoolExecutor(threads) as pool:
            won = list(pool.map(write, range(threads)))
        assert won.count(True) == 1
        assert store.get(f"runs/r/commits/{turn:012d}") == b"%d" % won.index(True) * 100
    assert len(keys(store)) == 20


# --- reading ---


def test_a_reader_reads_any_stretch(store: ObjectStore) -> None:
    data = random.Random(3).randbytes(20_000)
    store.put(KEY, data)
    with closing(store.open(KEY)) as reader:
        assert reader.size == 20_000
        for begin, n in [(0, 20_000), (1, 1), (4095, 4098), (19_999, 1), (20_000, 0)]:
            into = bytearray(n)
            reader.read(memoryview(into), begin)
            assert into == data[begin : begin + n]


def test_an_uncached_read_gives_the_same_bytes(store: ObjectStore) -> None:
    data = random.Random(4).randbytes(3 * 4096 + 100)
    store.put(KEY, data)
    memory = memoryview(mmap.mmap(-1, 4 * 4096))
    with closing(store.open(KEY)) as reader:
        reader.read_uncached(memory[:4096], 4096)
        assert memory[:4096] == data[4096:8192]
        reader.read_uncached(memory[: 2 * 4096 + 100], 4096)
        assert memory[: 2 * 4096 + 100] == data[4096:]


def test_a_cached_read_gives_the_bytes_or_says_no(store: ObjectStore) -> None:
    data = random.Random(5).randbytes(50_000)
    store.put(KEY, data)
    into = bytearray(30_000)
    with closing(store.open(KEY)) as reader:
        if reader.is_cached(7, 30_000) and reader.read_cached(memoryview(into), 7):
            assert into == data[7:30_007]
        reader.read(memoryview(into), 20_000)
        assert into == data[20_000:]


@pytest.mark.parametrize("begin", [90, 100, 5000])
def test_reading_past_the_end_is_an_error(store: ObjectStore, begin: int) -> None:
    store.put(KEY, bytes(100))
    with closing(store.open(KEY)) as reader:
        for read in (reader.read, reader.read_uncached):
            with pytest.raises(ChunkDamaged, match="cut short"):
                read(memoryview(mmap.mmap(-1, 4096))[:20], begin)
        assert not reader.is_cached(begin, 20)
        assert reader.read_cached(memoryview(bytearray(20)), begin) is False


def test_several_threads_read_from_one_reader(store: ObjectStore) -> None:
    data = random.Random(6).randbytes(1 << 20)
    store.put(KEY, data)

    def read(i: int) -> bool:
        into = memoryview(mmap.mmap(-1, 8192))
        begin = i * 4096
        (reader.read_uncached if i % 2 else reader.read)(into, begin)
        return into == data[begin : begin + 8192]

    with closing(store.open(KEY)) as reader, ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(255)))


def test_an_open_object_outlives_its_replacement(store: ObjectStore) -> None:
    store.put(KEY, b"old")
    with closing(store.open(KEY)) as reader:
        store.put(KEY, b"replacement")
        into = bytearray(3)
        reader.read(memoryview(into), 0)
    assert into == b"old"


@pytest.mark.parametrize("key", [KEY, "nothing", "runs/r/packs/1"])
def test_what_is_not_there_is_missing(store: ObjectStore, key: str) -> None:
    store.put("runs/r/packs/0/other", b"x")
    assert not store.exists(key)
    with pytest.raises(ChunkMissing, match="not in the store"):
        store.get(key)
    with pytest.raises(ChunkMissing, match="not in the store"):
        store.open(key)


# --- listing and deleting ---


def test_a_listing_is_of_the_prefix_and_tells_sizes(store: ObjectStore) -> None:
    for key in ("runs/b/x/2", "runs/a/x/1", "runs/b/x/1", "runs/bb/x", "other/1"):
        store.put(key, key.encode())
    found = list(store.list("runs/b/"))
    assert [(info.key, info.size) for info in found] == [("runs/b/x/1", 10), ("runs/b/x/2", 10)]
    assert keys(store, "none/") == []
    assert keys(store) == ["runs/a/x/1", "runs/b/x/1", "runs/b/x/2", "runs/bb/x"]


def test_a_listing_tells_when_objects_changed(store: ObjectStore) -> None:
    import time

    before = time.time()
    store.put(KEY, b"x")
    [info] = store.list("runs/")
    assert before - 2 <= info.modified_s <= time.time() + 2


def test_a_listing_is_sorted_by_key(store: ObjectStore) -> None:
    # "-" and "." sort before "/": folders must not be sorted as if they ended there.
    names = ["runs/a/x", "runs/a-b/y", "runs/a.b/z", "runs/a", "runs/a0", "runs/B", "runs/é"]
    for name in names[:3] + names[4:]:
        store.put(name, b"x")
    assert keys(store) == sorted(names[:3] + names[4:])


def test_deleting_removes_and_forgives(store: ObjectStore) -> None:
    for key in ("runs/a/1", "runs/a/2", "runs/b"):
        store.put(key, b"x")
    store.delete(["runs/a/1", "runs/none", "runs/none/at/all", "runs/a/1"])
    assert keys(store) == ["runs/a/2", "runs/b"]
    store.delete([])
    store.delete(["runs/a/2", "runs/b"])
    assert keys(store) == []


def test_folders_are_told_by_name(store: ObjectStore) -> None:
    for key in ("runs/b/commits/1", "runs/a/commits/1", "runs/a/2", "runs/file"):
        store.put(key, b"x")
    assert list(store.folders("runs/")) == ["a", "b"]
    assert list(store.folders("runs/none/")) == []


def test_what_is_appended_follows_what_was_there(store: ObjectStore) -> None:
    store.append("runs/r/journal", b"one")
    store.append("runs/r/journal", b"two")
    assert store.get("runs/r/journal") == b"onetwo"


def test_clearing_debris_leaves_what_is_visible(store: ObjectStore) -> None:
    store.put(KEY, b"x")
    staged = store.stage("runs/r/other", [b"y"])
    store.clear_debris("runs/")
    assert keys(store) == [KEY]
    store.discard([staged])


def test_a_lock_has_one_holder_and_tells_who(store: ObjectStore) -> None:
    first, second = store.open_lock("runs/r/lock"), store.open_lock("runs/r/lock")
    assert first.acquire()
    first.write_note(b"a long note of the first")
    assert not second.acquire()
    assert second.note() == b"a long note of the first"
    first.close()
    first.close()
    assert second.acquire()
    second.write_note(b"the second")
    third = store.open_lock("runs/r/lock")
    assert third.note() == b"the second"
    assert not third.acquire()
    second.close()
    third.close()


def test_locks_of_other_keys_are_others(store: ObjectStore) -> None:
    first, second = store.open_lock("runs/r/lock"), store.open_lock("runs/s/lock")
    assert first.acquire()
    assert second.acquire()
    first.close()
    second.close()


def test_a_store_tells_how_much_room_there_is_or_that_it_cannot(store: ObjectStore) -> None:
    store.create()
    free = store.free_bytes()
    assert free is None or free > 0


def test_a_key_can_be_written_again_after_it_was_deleted(store: ObjectStore) -> None:
    for _ in range(3):
        store.put(KEY, b"x")
        store.delete([KEY])
    store.put(KEY, b"y")
    assert store.get(KEY) == b"y"


# --- keys ---


@pytest.mark.parametrize("key", ["..", "../x", "a/../../x", "a/..", "/etc/x", "/", "a\0b"])
def test_keys_that_would_leave_the_store_are_refused(store: ObjectStore, key: str) -> None:
    for call in (
        lambda: store.put(key, b"x"),
        lambda: store.put_new(key, b"x"),
        lambda: store.put_hint(key, b"x"),
        lambda: store.delete_hint(key),
        lambda: store.stage(key, [b"x"]),
        lambda: store.get(key),
        lambda: store.open(key),
        lambda: store.exists(key),
        lambda: store.delete([key]),
    ):
        with pytest.raises(UsageError, match="no key"):
            call()


@pytest.mark.parametrize("key", ["", "a//b", "./a", "a/./b", "a/", "."])
def test_keys_of_which_two_would_name_one_object_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(UsageError, match="no key"):
        store.put(key, b"x")


def test_keys_may_hold_what_names_are_encoded_to(store: ObjectStore) -> None:
    names = ["runs/a b%2Fc/commits/1", "runs/%2E%2E/x", "runs/~[x]!,(=)+/t", "runs/%F0%9F%90%8B/1"]
    for name in names:
        store.put(name, name.encode())
    assert {info.key for info in store.list("runs/")} == set(names)


def test_a_store_says_where_it_is(store: ObjectStore) -> None:
    assert isinstance(store.location, str) and store.location
