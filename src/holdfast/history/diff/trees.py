"""Two trees of leaves against each other: what came, went, changed its kind or its value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.history.diff.widen import is_number
from holdfast.history.info import LeafInfo


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf, and the row of its array in the part; -1 for a plain value."""

    info: LeafInfo
    row: int


@dataclass(frozen=True, slots=True)
class Pair:
    """The same leaf in two checkpoints."""

    before: Leaf
    after: Leaf

    @property
    def path(self) -> str:
        """The path of the leaf."""
        return self.after.info.path


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """How two trees differ, leaf by leaf, in tree order.

    Attributes:
        added: Leaves that only the later one has.
        removed: Leaves that only the earlier one has.
        reshaped: Arrays with another shape.
        recast: Leaves of another kind or element type; arrays of one shape that are numbers before
            and after are in ``arrays`` too.
        values: Plain values that are not the same.
        arrays: Arrays of one shape, whose elements can be compared.
    """

    added: tuple[LeafInfo, ...]
    removed: tuple[LeafInfo, ...]
    reshaped: tuple[Pair, ...]
    recast: tuple[Pair, ...]
    values: tuple[Pair, ...]
    arrays: tuple[Pair, ...]


def diff_trees(
    before: Sequence[Leaf], after: Sequence[Leaf], chosen: Callable[[str], bool] | None = None
) -> TreeDiff:
    """Return how two trees differ.

    Args:
        before: The leaves of the earlier one.
        after: The leaves of the later one.
        chosen: Says of a path whether it counts; None: all do.
    """
    old, new = _by_name(before, chosen), _by_name(after, chosen)
    pairs = [Pair(old[name], leaf) for name, leaf in new.items() if name in old]
    arrays = [p for p in pairs if p.before.row >= 0 and p.after.row >= 0]
    plain = [p for p in pairs if p.before.row < 0 and p.after.row < 0]
    return TreeDiff(
        added=tuple(leaf.info for name, leaf in new.items() if name not in old),
        removed=tuple(leaf.info for name, leaf in old.items() if name not in new),
        reshaped=tuple(p for p in arrays if p.before.info.shape != p.after.info.shape),
        recast=tuple(p for p in pairs if _type(p.before.info) != _type(p.after.info)),
        values=tuple(p for p in plain if not _same_value(p.before.info, p.after.info)),
        arrays=tuple(p for p in arrays if _is_comparable(p.before.info, p.after.info)),
    )


def _by_name(
    leaves: Sequence[Leaf], chosen: Callable[[str], bool] | None
) -> dict[tuple[str, int], Leaf]:
    """Return leaves by path, and a number where several have the same one."""
    seen: Counter[str] = Counter()
    found = {}
    for leaf in leaves:
        path = leaf.info.path
        if chosen is None or chosen(path):
            found[path, seen[path]] = leaf
            seen[path] += 1
    return found


def _is_comparable(before: LeafInfo, after: LeafInfo) -> bool:
    if before.shape != after.shape:
        return False
    return before.dtype == after.dtype or all(is_number(str(i.dtype)) for i in (before, after))


def _type(info: LeafInfo) -> str:
    return info.dtype or info.kind


def _same_value(a: LeafInfo, b: LeafInfo) -> bool:
    if type(a.value) is int and type(b.value) is int:
        # Python writes out none of some thousand digits.
        return a.value == b.value
    # By repr, NaN is NaN, 0.0 is not -0.0, and 1, 1.0 and True are three.
    return a.kind == b.kind and repr(a.value) == repr(b.value)
