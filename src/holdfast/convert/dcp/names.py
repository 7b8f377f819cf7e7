"""Names in PyTorch's distributed checkpoints, as its own planner makes them of a tree.

They are keys as text, joined by dots; a list is one value unless there are tensors or mappings in
it, and a tuple always is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.convert.naming import require_distinct
from holdfast.convert.nesting import ArrayAt

_Way = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """What has a name of its own, with the path that it was flattened from."""

    name: str
    path: _Way
    value: object


def items_of(root: Mapping[object, object], notes: list[str], ref: str) -> list[Item]:
    """Return what has a name of its own in a tree.

    Args:
        root: The tree.
        notes: Where what becomes another kind of value, or has no place, is told.
        ref: The checkpoint, for messages.

    Raises:
        CannotConvert: Two would have one name.
    """
    flattening = _Flattening(notes)
    items = list(flattening.items(root, ()))
    if flattening.turned:
        notes.append(
            f"{flattening.turned} keys that are no texts became texts, as in all files of this kind"
        )
    require_distinct([item.name for item in items], ref)
    return items


@dataclass(slots=True)
class _Flattening:
    notes: list[str]
    turned: int = field(default=0)

    def items(self, value: object, path: _Way) -> Iterator[Item]:
        name = ".".join(map(str, path))
        if isinstance(value, dict):
            if not value:
                self.notes.append(f"{name or 'the root'}: an empty dict has no place")
            for key, inner in value.items():
                self.turned += not isinstance(key, str)
                yield from self.items(inner, (*path, str(key)))
        elif isinstance(value, list) and not _is_terminal(value):
            for i, inner in enumerate(value):
                yield from self.items(inner, (*path, i))
        else:
            yield Item(name, path, value)


def _is_terminal(items: list[object]) -> bool:
    return not any(
        isinstance(item, dict | ArrayAt) or (isinstance(item, list) and not _is_terminal(item))
        for item in items
    )
