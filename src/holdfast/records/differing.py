"""Where ranks differ that should say the same."""

from __future__ import annotations

from holdfast.format.shared import PART_OF, decode_header
from holdfast.format.tree import CONTAINERS, KEYED, NodeKind
from holdfast.state.nodes import Node


class Disagreement(Exception):
    """Ranks say different things of one place.

    Attributes:
        path: The place.
        rank: The first rank that says something else than rank 0.
        what: What is different.
    """

    def __init__(self, path: str, rank: int, what: str) -> None:
        super().__init__(f"{path!r}: {what} (rank {rank})")
        self.path, self.rank, self.what = path, rank, what


def first_difference(first: Node, other: Node, rank: int) -> Disagreement | None:
    """Return where the shared tree of a rank is another one than rank 0's, or None.

    Args:
        first: Rank 0's.
        other: The rank's.
        rank: Which one it is.
    """
    said = [(n.kind, n.key, n.type_name) for n in (first, other)]
    if said[0] != said[1]:
        what = f"{node_in_words(other)}, where rank 0 has {node_in_words(first)}"
        return Disagreement(first.path, rank, what)
    if first.kind == NodeKind.CUSTOM and first.type_name == PART_OF:
        arrays = [array_in_words(node) for node in (first, other)]
        if arrays[0] == arrays[1]:
            return None
        return Disagreement(first.path, rank, f"{arrays[1]}, where rank 0 has {arrays[0]}")
    if first.kind not in CONTAINERS:
        # As text, so that NaN is NaN, and 0.0 is not -0.0.
        if repr(first.value) == repr(other.value):
            return None
        what = f"{other.value!r}, where rank 0 has {first.value!r}"
        return Disagreement(first.path, rank, what)
    if first.kind in KEYED and (found := _missing(first, other, rank)) is not None:
        return found
    for child, of_other in zip(first.children, other.children, strict=False):
        if (found := first_difference(child, of_other, rank)) is not None:
            return found
    if len(first.children) != len(other.children):
        what = f"{len(other.children)} elements, where rank 0 has {len(first.children)}"
        return Disagreement(first.path, rank, what)
    return None


def _missing(first: Node, other: Node, rank: int) -> Disagreement | None:
    """Return what one of two nodes has under a key that the other has not."""
    keys = [{repr(child.key) for child in node.children} for node in (first, other)]
    for child in other.children:
        if repr(child.key) not in keys[0]:
            what = f"{node_in_words(child)}, where rank 0 has nothing"
            return Disagreement(child.path, rank, what)
    for child in first.children:
        if repr(child.key) not in keys[1]:
            what = f"nothing, where rank 0 has {node_in_words(child)}"
            return Disagreement(child.path, rank, what)
    return None


def array_in_words(node: Node) -> str:
    """Return what a shared tree says of an array, for people; also where it is malformed."""
    parts = [child.value for child in node.children[0].children]
    try:
        header = decode_header(parts[0] if parts else None, 0)
    except ValueError as error:
        return str(error)
    layout = [str(part, "utf-8", "replace") for part in parts[1:] if isinstance(part, bytes)]
    where = f" laid out as {layout[0]}" if layout else ""
    cast = f" cast from {header.cast_from}" if header.cast_from else ""
    return kind_in_words(header.kind) + cast + where


def node_in_words(node: Node) -> str:
    """Return what kind of node one is, for people."""
    name = node.kind.name.lower().replace("_", " ")
    return f"{name} {node.type_name}" if node.type_name else name


def kind_in_words(kind: tuple[str, str, tuple[int, ...]]) -> str:
    """Return type and shape of an array, for people."""
    return f"{kind[1]}[{', '.join(map(str, kind[2]))}]"
