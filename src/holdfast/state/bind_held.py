"""Saved arrays meet arrays of which this process holds a part: only that part is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.format import dtypes
from holdfast.format.boxes import Box
from holdfast.state import arrays
from holdfast.state.nodes import Node
from holdfast.state.numpy_arrays import as_bytes, memory_at
from holdfast.state.reads import Read, Thunk
from holdfast.state.sharding import Held

if TYPE_CHECKING:
    from holdfast.state.bind import Binder


def held_into(binder: Binder, node: Node, target: Any, held: Held, path: str) -> Thunk:
    """Bind a saved array to the boxes of it that stand here."""
    saved = binder.spec(node.row)
    adapter = arrays.adapter_of(held.like)
    assert adapter is not None
    wanted = adapter.describe(held.like, path)[0]
    if (saved.dtype, saved.shape) != (wanted.dtype, held.shape):
        shown = wanted._replace(shape=held.shape)
        return binder.problem(path, f"saved as {saved}, wanted {shown}")
    if isinstance(adapter, arrays.AssemblingAdapter):
        assemble, made = adapter.assemble, _being_made(binder, node, adapter, held, path)
        return lambda: assemble(target, made)
    puts = [_piece_into(binder, node, adapter, p.box, p.value, path) for p in held.pieces]

    def put() -> Any:
        for thunk in puts:
            thunk()
        return target

    return put


def _being_made(
    binder: Binder, node: Node, adapter: arrays.ArrayAdapter, held: Held, path: str
) -> list[tuple[Box, Any]]:
    """Return an array that is being made for each box; they come into arrays that cannot change."""
    saved = binder.spec(node.row)
    size = dtypes.itemsize(saved.dtype)
    made = []
    for box in (piece.box for piece in held.pieces):
        value, view = adapter.create(
            saved._replace(shape=box.shape, nbytes=box.volume * size), None
        )
        if box.volume:
            binder.reads.append(Read(node.row, view, False, path, box=box))
        made.append((box, value))
    return made


def _piece_into(
    binder: Binder, node: Node, adapter: arrays.ArrayAdapter, box: Box, piece: Any, path: str
) -> Thunk:
    spec, _, address = adapter.describe(piece, path)
    if not spec.nbytes:
        return lambda: piece
    if address is None:
        staging = as_bytes(np.empty(spec.nbytes, np.uint8))
        binder.reads.append(Read(node.row, staging, False, path, box=box))
        return lambda: adapter.assign(piece, staging)
    if binder.claim(node.row, address, spec, path):
        into = memory_at(address, spec.nbytes)
        binder.reads.append(Read(node.row, into, True, path, address, box))
    return lambda: piece
