"""A checkpoint laid over the one that has what it left out, as if both had been saved as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from holdfast.format.part import ArrayRow
from holdfast.format.tree import KEYED, SEQUENCES, WRAPPERS, NodeKind
from holdfast.records.whole import Row, Whole, tables_of
from holdfast.state.nodes import Node


def with_base(own: Whole, base: Whole) -> Whole:
    """Return a checkpoint with what its base has besides.

    Of the base only what is below the names at the root that the checkpoint has too is taken: what
    else was saved with it, an optimizer's state say, belongs to another training.

    Args:
        own: The checkpoint; where both have a leaf, its own counts.
        base: The other.
    """
    shift = len(own.arrays)
    of_base = {child.key: child for child in base.root.children}
    children = [
        _merged(child, of_base[child.key], shift) if child.key in of_base else child
        for child in own.root.children
    ]
    moved = [_moved(row, len(own.chunks)) for row in base.arrays]
    chunks, packs = tables_of([own, base])
    return Whole(replace(own.root, children=children), [*own.arrays, *moved], chunks, packs)


def _merged(own: Node, base: Node, shift: int) -> Node:
    if own.kind == NodeKind.OMITTED:
        return _shifted(base, shift)
    if own.kind != base.kind:
        return own
    if own.kind in KEYED:
        mine = {child.key: child for child in own.children}
        children = [_either(mine.pop(child.key, None), child, shift) for child in base.children]
        return replace(own, children=[*children, *mine.values()])
    is_alike = own.kind in SEQUENCES or own.kind in WRAPPERS
    if is_alike and len(own.children) == len(base.children) and own.kind != NodeKind.CUSTOM:
        pairs = zip(own.children, base.children, strict=True)
        return replace(own, children=[_merged(one, other, shift) for one, other in pairs])
    return own


def _either(own: Node | None, base: Node, shift: int) -> Node:
    return _shifted(base, shift) if own is None else _merged(own, base, shift)


def _shifted(node: Node, shift: int) -> Node:
    row = node.row + shift if node.row >= 0 else node.row
    return replace(node, row=row, children=[_shifted(child, shift) for child in node.children])


def _moved(row: Row, n_chunks: int) -> Row:
    if isinstance(row, ArrayRow):
        return row._replace(chunk=row.chunk + n_chunks) if row.nbytes else row
    return row._replace(pieces=[p._replace(chunk=p.chunk + n_chunks) for p in row.pieces])


def rows_by_path(whole: Whole) -> Mapping[str, int]:
    """Return the row of each array of a checkpoint, by the paths of its leaves."""
    return {node.path: node.row for node in whole.root.leaves() if node.row >= 0}
