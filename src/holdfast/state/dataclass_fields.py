"""Whether a dataclass is no more than its fields, so that it comes back as it was from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any


def more_than_fields(value: Any, names: Sequence[str]) -> str | None:
    """Say why a dataclass would not come back as it was from its fields alone, or None."""
    if unset := [name for name in names if not hasattr(value, name)]:
        return f"has no value in its field {unset[0]!r}"
    builtin = next((b for b in (dict, list, tuple, set, str) if isinstance(value, b)), None)
    if builtin is not None:
        return f"is a {builtin.__name__} besides"
    others = [
        name
        for name in getattr(value, "__dict__", {})
        # What is computed once and kept is computed anew.
        if name not in names and not isinstance(getattr(type(value), name, None), cached_property)
    ]
    return f"has {others[0]!r} besides its fields" if others else None
