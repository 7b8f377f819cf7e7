"""What two trees differ in besides their leaves: containers, types of keys, arrays that are shared.

A tuple that became a list has the same leaves as before, and an empty dict has none; weights that
are tied no more have the same bytes. Yet what is loaded is another value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from holdfast.format.tree import TYPED, NodeKind
from holdfast.history.diff.trees import Leaf, Pair
from holdfast.history.info import LeafInfo
from holdfast.state.nodes import Node

# What an object's state is wrapped in is no part of the state, and for Python an ordered dict is
# equal to a dict.
_NAMES = {
    NodeKind.DICT: "dict",
    NodeKind.ORDERED_DICT: "dict",
    NodeKind.LIST: "list",
    NodeKind.TUPLE: "tuple",
    NodeKind.NAMED_TUPLE: "named tuple",
    NodeKind.DATACLASS: "dataclass",
    NodeKind.CUSTOM: "value",
}


@dataclass(frozen=True, slots=True)
class Structure:
    """What there is of a tree besides its leaves.

    Attributes:
        kinds: What is at the path of a container, in words; outer ones first.
        empty: The paths of containers that have nothing in them.
        keys: The type of the key of what is at a path, where a mapping has it.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StructureDiff:
    """How two trees differ besides their leaves.

    Attributes:
        added: Empty containers that only the later one has.
        removed: Empty containers that only the earlier one has.
        changed: What is of another kind, has a key of another type, or is shared with another leaf.
    """

    added: tuple[LeafInfo, ...]
    removed: tuple[LeafInfo, ...]
    changed: tuple[Pair, ...]


def diff_structures(
    before: tuple[Node, Sequence[Leaf]],
    after: tuple[Node, Sequence[Leaf]],
    chosen: Callable[[str], bool] | None = None,
) -> StructureDiff:
    """Return how two trees differ besides their leaves.

    Args:
        before: The root and the leaves of the earlier one.
        after: The root and the leaves of the later one.
        chosen: Says of a path whether it counts; None: all do.
    """
    old, new = _structure(before[0], chosen), _structure(after[0], chosen)
    changed = [
        *_pairs(old.kinds, new.kinds, "{}"),
        *_pairs(old.keys, new.keys, "key: {}"),
        *_pairs(*_owners(before[1], after[1], chosen), "{}"),
    ]
    return StructureDiff(
        added=tuple(LeafInfo(p, new.kinds[p]) for p in new.kinds if _came(p, new, old)),
        removed=tuple(LeafInfo(p, old.kinds[p]) for p in old.kinds if _came(p, old, new)),
        changed=tuple(changed),
    )


def _came(path: str, here: Structure, there: Structure) -> bool:
    return path in here.empty and path not in there.kinds


def _pairs(old: dict[str, str], new: dict[str, str], text: str) -> Iterator[Pair]:
    for path, kind in new.items():
        if old.get(path, kind) != kind:
            yield Pair(
                Leaf(LeafInfo(path, text.format(old[path])), -1),
                Leaf(LeafInfo(path, text.format(kind)), -1),
            )


def _structure(root: Node, chosen: Callable[[str], bool] | None) -> Structure:
    found = Structure()
    stack = list(reversed(root.children))
    while stack:
        node = stack.pop()
        stack.extend(reversed(node.children))
        if chosen is not None and not chosen(node.path):
            continue
        if type(node.key) is not str and node.key is not None:
            found.keys[node.path] = type(node.key).__name__
        elif node.key is not None:
            found.keys.setdefault(node.path, "str")
        if node.kind in _NAMES:
            _add_container(found, node)
    return found


def _add_container(found: Structure, node: Node) -> None:
    name = _NAMES[node.kind]
    if node.kind in TYPED:
        name += f" {node.type_name}"
    outer = found.kinds.get(node.path)
    found.kinds[node.path] = name if outer is None else f"{outer} of {name}"
    if not node.children:
        found.empty.add(node.path)


def _owners(
    before: Sequence[Leaf], after: Sequence[Leaf], chosen: Callable[[str], bool] | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return with which other each array is shared, of those that both trees have."""
    paths = [{leaf.info.path for leaf in side if leaf.row >= 0} for side in (before, after)]
    both = {path for path in paths[0] & paths[1] if chosen is None or chosen(path)}
    return _sharing(before, both), _sharing(after, both)


def _sharing(leaves: Sequence[Leaf], among: set[str]) -> dict[str, str]:
    sharing: dict[int, list[str]] = {}
    texts = {}
    for leaf in leaves:
        if leaf.info.path in among:
            sharing.setdefault(leaf.row, []).append(leaf.info.path)
            texts[leaf.info.path] = "of its own"
    for paths in sharing.values():
        # By name, so that it does not matter which of them comes first in the tree.
        first, *others = sorted(paths)
        texts |= dict.fromkeys(others, f"same as {first}")
        if others:
            texts[first] = f"same as {others[0]}"
    return texts
