"""Expectations that say, where they are not met, what was expected and what was found."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing

from holdfast.store.contract import ObjectStore

KEY = "runs/r/packs/0/00000"


def same(found: object, expected: object, what: str = "") -> None:
    """Fail unless two values are equal."""
    if found != expected:
        raise AssertionError(f"{what or 'expected'}: {_short(expected)}, found {_short(found)}")


def true(found: object, what: str) -> None:
    """Fail unless something holds."""
    if not found:
        raise AssertionError(what)


def raises(kind: type[Exception], call: Callable[[], object], text: str = "") -> None:
    """Fail unless a call raises an error of a kind, whose message has a text in it."""
    try:
        call()
    except kind as error:
        true(re.search(text, str(error)), f"{error!r} does not say {text!r}")
        return
    raise AssertionError(f"no {kind.__name__} was raised")


def keys_of(store: ObjectStore, prefix: str = "runs/") -> list[str]:
    """Return the keys of a listing."""
    return [info.key for info in store.list(prefix)]


def content(store: ObjectStore, key: str) -> bytes:
    """Return the bytes that a reader of an object gives."""
    with closing(store.open(key)) as reader:
        data = bytearray(reader.size)
        reader.read(memoryview(data), 0)
    return bytes(data)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}… ({len(text)} characters)"
