"""Chunks filled from the leaves of a state, as they are asked for."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence

from holdfast.engine.stream import Fill
from holdfast.plan.layout import Layout
from holdfast.plan.pieces import pieces
from holdfast.state.arrays import RangeAdapter
from holdfast.state.flatten import Leaf


def leaf_filler(leaves: Sequence[Leaf], layout: Layout) -> Fill:
    """Return a function that copies the leaves of a chunk into its buffer."""
    members: dict[int, list[tuple[Leaf, int, int, int]]] = {}
    for leaf, place in zip(leaves, layout.places, strict=True):
        for chunk, begin, nbytes, at in pieces(place, leaf.spec.nbytes, layout.lengths):
            members.setdefault(chunk, []).append((leaf, at, begin, nbytes))
    exported: dict[int, memoryview] = {}
    lock = threading.Lock()

    def bytes_of(leaf: Leaf) -> memoryview:
        # A leaf that is no plain host memory is brought there once, whatever chunks it spans.
        with lock:
            key = id(leaf)
            if key not in exported:
                exported[key] = memoryview(bytearray(leaf.spec.nbytes))
                leaf.export(exported[key])
            return exported[key]

    def fill(chunk: int, view: memoryview) -> None:
        end = 0
        base = ctypes.addressof(ctypes.c_char.from_buffer(view))
        for leaf, at, begin, n in members.get(chunk, ()):
            view[end:begin] = bytes(begin - end)
            if leaf.address is not None:
                ctypes.memmove(base + begin, leaf.address + at, n)
            elif isinstance(leaf.adapter, RangeAdapter) and not leaf.spec.cast_from:
                leaf.adapter.export_range(leaf.value, at, view[begin : begin + n])
            else:
                view[begin : begin + n] = bytes_of(leaf)[at : at + n]
            end = begin + n

    return fill
