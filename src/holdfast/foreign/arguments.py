"""Arguments of calls in a pickle, checked before a rule takes them."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.security.pickle_machine import Call
from holdfast.security.pickle_verdicts import shown


def shown_key(key: object) -> str:
    """Return a key as it stands in a path."""
    return key[:80] if isinstance(key, str) else shown(key)


def exactly(call: Call, count: int) -> Sequence[object]:
    """Return the arguments of a call that has so many, and nothing besides, or raise ValueError."""
    if len(call.args) != count or call.named is not None or call.state or call.filled:
        raise ValueError(f"it is not made of {count} values")
    return call.args


def as_int(value: object) -> int:
    """Return an int, or raise ValueError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} in place of a number")
    return value


def as_text(value: object) -> str:
    """Return a text, or raise ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} in place of a text")
    return value
