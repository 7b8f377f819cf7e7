"""Checks of keys: which are refused, which must be taken."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.errors import UsageError
from holdfast.store.contract import ObjectStore
from holdfast.testing.store_contract.expecting import raises, same, true

LEAVING = ("..", "../x", "a/../../x", "a/..", "/etc/x", "/", "a\0b")
AMBIGUOUS = ("", "a//b", "./a", "a/./b", "a/", ".")


def keys_that_would_leave_the_store_are_refused(store: ObjectStore) -> None:
    """By every call that takes a key."""
    for key in LEAVING:
        for call in _calls(store, key):
            raises(UsageError, call, "no key")


def keys_of_which_two_would_name_one_object_are_refused(store: ObjectStore) -> None:
    """An object has one key."""
    for key in AMBIGUOUS:
        raises(UsageError, lambda key=key: store.put(key, b"x"), "no key")  # type: ignore[misc]


def keys_may_hold_what_names_are_encoded_to(store: ObjectStore) -> None:
    """Names of runs and tags are percent-encoded; a store takes that as it is."""
    names = ["runs/a b%2Fc/commits/1", "runs/%2E%2E/x", "runs/~[x]!,(=)+/t", "runs/%F0%9F%90%8B/1"]
    for name in names:
        store.put(name, name.encode())
    same({info.key for info in store.list("runs/")}, set(names))


def a_store_says_where_it_is(store: ObjectStore) -> None:
    """Errors and reports name the place."""
    true(isinstance(store.location, str) and store.location, "the location is no text")


def _calls(store: ObjectStore, key: str) -> list[Callable[[], object]]:
    return [
        lambda: store.put(key, b"x"),
        lambda: store.put_new(key, b"x"),
        lambda: store.put_hint(key, b"x"),
        lambda: store.delete_hint(key),
        lambda: store.stage(key, [b"x"]),
        lambda: store.get(key),
        lambda: store.open(key),
        lambda: store.exists(key),
        lambda: store.delete([key]),
    ]


CHECKS = (
    keys_that_would_leave_the_store_are_refused,
    keys_of_which_two_would_name_one_object_are_refused,
    keys_may_hold_what_names_are_encoded_to,
    a_store_says_where_it_is,
)
