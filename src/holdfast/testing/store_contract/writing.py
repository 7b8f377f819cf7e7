"""Checks of staging, publishing, putting and appending."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from holdfast.errors import ChunkMissing
from holdfast.store.contract import ObjectStore
from holdfast.testing.store_contract.expecting import KEY, content, keys_of, raises, same, true


def a_staged_object_is_invisible_until_it_is_published(store: ObjectStore) -> None:
    """Nobody sees half an object, or one that may not be durable."""
    staged = store.stage(KEY, [b"one", bytearray(b"two"), memoryview(b"three")])
    same((staged.key, staged.size), (KEY, 11))
    true(not store.exists(KEY), "a staged object is there before it is published")
    same(keys_of(store), [])
    raises(ChunkMissing, lambda: store.get(KEY))
    store.publish([staged])
    true(store.exists(KEY), "a published object is not there")
    same(keys_of(store), [KEY])
    same(store.get(KEY), b"onetwothree")
    same(content(store, KEY), b"onetwothree")


def several_objects_are_published_together(store: ObjectStore) -> None:
    """All of them are there afterwards, each under its own key."""
    names = [f"runs/r/packs/{i}/{n}" for i in range(3) for n in range(3)]
    store.publish([store.stage(name, [name.encode()]) for name in names])
    same({name: store.get(name) for name in names}, {name: name.encode() for name in names})


def publishing_nothing_is_fine(store: ObjectStore) -> None:
    """Where all chunks are known already there is nothing to publish."""
    store.publish([])


def publishing_replaces_what_was_there(store: ObjectStore) -> None:
    """A save that is repeated writes its packs again."""
    store.put(KEY, b"old, and longer")
    store.publish([store.stage(KEY, [b"new"])])
    same(store.get(KEY), b"new")


def discarded_objects_never_appear(store: ObjectStore) -> None:
    """Whoever gives a save up leaves nothing."""
    kept, dropped = store.stage("runs/a", [b"1"]), store.stage("runs/b", [b"2"])
    store.discard([dropped])
    store.discard([dropped])
    store.publish([kept])
    same(keys_of(store), ["runs/a"])


def the_callers_buffers_may_change_once_stage_has_returned(store: ObjectStore) -> None:
    """The memory of a chunk is used again for the next one."""
    buffer = bytearray(b"before")
    staged = store.stage(KEY, [buffer])
    buffer[:] = b"after!"
    store.publish([staged])
    same(store.get(KEY), b"before")


def objects_may_be_empty(store: ObjectStore) -> None:
    """No bytes are bytes too."""
    store.publish([store.stage(KEY, [])])
    store.put("runs/b", b"")
    same((store.get(KEY), store.get("runs/b")), (b"", b""))
    same([info.size for info in store.list("runs/")], [0, 0])


def put_replaces(store: ObjectStore) -> None:
    """Tags move."""
    store.put(KEY, b"first")
    store.put(KEY, bytearray(b"second"))
    same(store.get(KEY), b"second")


def a_hint_is_there_at_once_and_can_be_taken_back(store: ObjectStore) -> None:
    """Pins and announcements work by that."""
    store.put_hint(KEY, b"first")
    store.put_hint(KEY, bytearray(b"second"))
    same(store.get(KEY), b"second")
    same(keys_of(store), [KEY])
    store.delete_hint(KEY)
    store.delete_hint(KEY)
    store.delete_hint("runs/none/at/all")
    same(keys_of(store), [])
    true(not store.exists(KEY), "a hint that was deleted is still there")


def put_new_never_replaces(store: ObjectStore) -> None:
    """A commit is never written over, whoever tries."""
    same(store.put_new(KEY, b"first"), True)
    same(store.put_new(KEY, b"second"), False)
    same(store.put_new(KEY, b"first"), False)
    same(store.get(KEY), b"first")
    same(keys_of(store), [KEY])


def put_new_takes_a_key_that_was_deleted(store: ObjectStore) -> None:
    """What is gone is free."""
    store.put_new(KEY, b"first")
    store.delete([KEY])
    same(store.put_new(KEY, b"second"), True)
    same(store.get(KEY), b"second")


def of_racing_writers_exactly_one_puts_a_new_object(store: ObjectStore) -> None:
    """Two writers of a run never both commit the same number."""
    threads = 8
    for turn in range(20):
        start = threading.Barrier(threads)

        def write(i: int, start: threading.Barrier = start, turn: int = turn) -> bool:
            start.wait()
            return store.put_new(f"runs/r/commits/{turn:012d}", b"%d" % i * 100)

        with ThreadPoolExecutor(threads) as pool:
            won = list(pool.map(write, range(threads)))
        same(won.count(True), 1, "writers that were told to have made the object")
        same(store.get(f"runs/r/commits/{turn:012d}"), b"%d" % won.index(True) * 100)
    same(len(keys_of(store)), 20)


def what_is_appended_follows_what_was_there(store: ObjectStore) -> None:
    """A journal grows at its end."""
    store.append("runs/r/journal", b"one")
    store.append("runs/r/journal", b"two")
    same(store.get("runs/r/journal"), b"onetwo")


def what_was_put_can_be_appended_to(store: ObjectStore) -> None:
    """A journal that was shortened grows on."""
    key = "runs/r/events.jsonl"
    for begin in (b"", b"\nkept\n"):
        store.put(key, begin)
        same(store.get(key), begin)
        store.append(key, b"one")
        store.append(key, b"two")
        same(store.get(key), begin + b"onetwo")


def a_key_can_be_written_again_after_it_was_deleted(store: ObjectStore) -> None:
    """Folders that have become empty are no hindrance."""
    for _ in range(3):
        store.put(KEY, b"x")
        store.delete([KEY])
    store.put(KEY, b"y")
    same(store.get(KEY), b"y")


CHECKS = (
    a_staged_object_is_invisible_until_it_is_published,
    several_objects_are_published_together,
    publishing_nothing_is_fine,
    publishing_replaces_what_was_there,
    discarded_objects_never_appear,
    the_callers_buffers_may_change_once_stage_has_returned,
    objects_may_be_empty,
    put_replaces,
    a_hint_is_there_at_once_and_can_be_taken_back,
    put_new_never_replaces,
    put_new_takes_a_key_that_was_deleted,
    of_racing_writers_exactly_one_puts_a_new_object,
    what_is_appended_follows_what_was_there,
    what_was_put_can_be_appended_to,
    a_key_can_be_written_again_after_it_was_deleted,
)
