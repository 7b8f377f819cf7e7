"""Checks of listing, deleting, clearing, and of locks."""

from __future__ import annotations

import time

from holdfast.store.contract import ObjectStore
from holdfast.testing.store_contract.expecting import KEY, keys_of, same, true


def a_listing_is_of_the_prefix_and_tells_sizes(store: ObjectStore) -> None:
    """A run whose name begins like another's is another one."""
    for key in ("runs/b/x/2", "runs/a/x/1", "runs/b/x/1", "runs/bb/x", "other/1"):
        store.put(key, key.encode())
    found = list(store.list("runs/b/"))
    same([(info.key, info.size) for info in found], [("runs/b/x/1", 10), ("runs/b/x/2", 10)])
    same(keys_of(store, "none/"), [])
    same(keys_of(store), ["runs/a/x/1", "runs/b/x/1", "runs/b/x/2", "runs/bb/x"])


def a_listing_tells_when_objects_changed(store: ObjectStore) -> None:
    """By that, what was left behind is told from what is under way."""
    before = time.time()
    store.put(KEY, b"x")
    [info] = store.list("runs/")
    true(before - 2 <= info.modified_s <= time.time() + 2, f"changed at {info.modified_s}?")


def a_listing_is_sorted_by_key(store: ObjectStore) -> None:
    """``-`` and ``.`` sort before ``/``: folders must not be sorted as if they ended there."""
    names = ["runs/a/x", "runs/a-b/y", "runs/a.b/z", "runs/a0", "runs/B", "runs/é"]
    for name in names:
        store.put(name, b"x")
    same(keys_of(store), sorted(names))


def deleting_removes_and_forgives(store: ObjectStore) -> None:
    """What is gone already is no error."""
    for key in ("runs/a/1", "runs/a/2", "runs/b"):
        store.put(key, b"x")
    store.delete(["runs/a/1", "runs/none", "runs/none/at/all", "runs/a/1"])
    same(keys_of(store), ["runs/a/2", "runs/b"])
    store.delete([])
    store.delete(["runs/a/2", "runs/b"])
    same(keys_of(store), [])


def folders_are_told_by_name(store: ObjectStore) -> None:
    """Runs are found by that."""
    for key in ("runs/b/commits/1", "runs/a/commits/1", "runs/a/2", "runs/file"):
        store.put(key, b"x")
    same(list(store.folders("runs/")), ["a", "b"])
    same(list(store.folders("runs/none/")), [])


def clearing_debris_leaves_what_is_visible(store: ObjectStore) -> None:
    """Only scratch files of the dead go."""
    store.put(KEY, b"x")
    staged = store.stage("runs/r/other", [b"y"])
    store.clear_debris("runs/")
    same(keys_of(store), [KEY])
    store.discard([staged])


def a_lock_has_one_holder_and_tells_who(store: ObjectStore) -> None:
    """The second writer of a run is told who the first is."""
    first, second = store.open_lock("runs/r/lock"), store.open_lock("runs/r/lock")
    true(first.acquire(), "a free lock cannot be taken")
    first.write_note(b"a long note of the first")
    true(not second.acquire(), "two hold one lock")
    same(second.note(), b"a long note of the first")
    first.close()
    first.close()
    true(second.acquire(), "a lock that was given back cannot be taken")
    second.write_note(b"the second")
    third = store.open_lock("runs/r/lock")
    same(third.note(), b"the second")
    true(not third.acquire(), "two hold one lock")
    second.close()
    third.close()


def locks_of_other_keys_are_others(store: ObjectStore) -> None:
    """Two runs are written at the same time."""
    first, second = store.open_lock("runs/r/lock"), store.open_lock("runs/s/lock")
    true(first.acquire(), "a free lock cannot be taken")
    true(second.acquire(), "a lock keeps another one from being taken")
    first.close()
    second.close()


def a_store_tells_how_much_room_there_is_or_that_it_cannot(store: ObjectStore) -> None:
    """None is an answer."""
    store.create()
    free = store.free_bytes()
    true(free is None or free > 0, f"{free} bytes are free?")


CHECKS = (
    a_listing_is_of_the_prefix_and_tells_sizes,
    a_listing_tells_when_objects_changed,
    a_listing_is_sorted_by_key,
    deleting_removes_and_forgives,
    folders_are_told_by_name,
    clearing_debris_leaves_what_is_visible,
    a_lock_has_one_holder_and_tells_who,
    locks_of_other_keys_are_others,
    a_store_tells_how_much_room_there_is_or_that_it_cannot,
)
