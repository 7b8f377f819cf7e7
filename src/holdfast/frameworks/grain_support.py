"""Grain: iterators that tell where they are, and go back there."""

from __future__ import annotations

import json
from typing import Any

from holdfast.state.kinds import ObjectKind, register_kind


def _is_iterator(value: Any) -> bool:
    ours = any(base.__module__.partition(".")[0] == "grain" for base in type(value).__mro__)
    pair = (getattr(value, name, None) for name in ("get_state", "set_state", "__next__"))
    return ours and all(map(callable, pair))


def _take(iterator: Any) -> dict[Any, Any]:
    state = iterator.get_state()
    # A DatasetIterator gives a tree of plain values, a DataLoader's the bytes of one.
    return {"bytes": state} if isinstance(state, bytes) else {"json": json.dumps(state)}


def _put(iterator: Any, tree: dict[Any, Any]) -> Any:
    iterator.set_state(tree["bytes"] if "bytes" in tree else json.loads(tree["json"]))
    return iterator


register_kind(ObjectKind(_is_iterator, _take, _put, leafwise=False))
