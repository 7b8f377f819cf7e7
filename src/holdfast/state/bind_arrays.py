"""Saved arrays meet those that stand: they are read in place, staged, replaced or converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.errors import MissingDependency, UnsupportedLeaf
from holdfast.state import arrays
from holdfast.state.bind_held import held_into
from holdfast.state.nodes import Node
from holdfast.state.numpy_arrays import as_bytes, memory_at
from holdfast.state.reads import Read, Thunk
from holdfast.state.sharding import held_of

if TYPE_CHECKING:
    from holdfast.state.bind import Binder


class FreshArrays:
    """New arrays of a restore; what was saved once, by whatever names, is made once."""

    def __init__(self, reads: list[Read]) -> None:
        self._reads = reads
        self._making: dict[int, tuple[arrays.ArrayAdapter, Any]] = {}
        self._finished: dict[int, Any] = {}

    def of(self, node: Node, spec: arrays.ArraySpec) -> Thunk:
        """Return a function that gives the new array of a node, once it is read."""
        row = node.row
        if row not in self._making:
            adapter = arrays.adapter_named(spec.framework)
            if adapter is None:
                raise _not_supported(node, spec)
            value, view = adapter.create(spec, None)
            self._making[row] = adapter, value
            self._reads.append(Read(row, view, False, node.path))
        return lambda: self._finish(row)

    def _finish(self, row: int) -> Any:
        if row not in self._finished:
            adapter, value = self._making[row]
            self._finished[row] = adapter.finish(value, None)
        return self._finished[row]


def _not_supported(node: Node, spec: arrays.ArraySpec) -> MissingDependency:
    package = spec.framework.partition("-")[0]
    return MissingDependency(
        f"{node.path!r} was saved as an array of {spec.framework}, which is not "
        f"installed or not supported here: pip install 'holdfast[{package}]'. Or load "
        f"with skip={node.path!r}, or into an array of another framework with into=.",
        path=node.path,
        package=package,
    )


def standing_adapter(target: object) -> arrays.ArrayAdapter | None:
    """Return the adapter of an array that stands, or None; text is never filled."""
    return None if isinstance(target, str | bytes) else arrays.adapter_of(target)


def array_into(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    """Bind a saved array to what stands in its place."""
    if (held := held_of(target, path)) is not None:
        return held_into(binder, node, target, held, path)
    saved = binder.spec(node.row)
    adapter = standing_adapter(target)
    if adapter is None:
        return _array_for_value(binder, node, target, path)
    try:
        wanted, _, address = adapter.describe(target, path)
    except UnsupportedLeaf as error:
        what = error.facts.get("what", "cannot take values")
        return binder.problem(path, f"saved as {saved}, but what stands there {what}")
    if not saved.is_like(wanted):
        return _unlike(binder, node, target, path, wanted)
    if saved.nbytes == 0:
        return lambda: target
    if not adapter.mutable or not adapter.is_writable(target):
        value, view = adapter.create(saved, target)
        binder.reads.append(Read(node.row, view, False, path))
        return lambda: adapter.finish(value, target)
    if address is None:
        return _staged(binder, node, target, path)
    if binder.claim(node.row, address, saved, path):
        into = memory_at(address, saved.nbytes)
        binder.reads.append(Read(node.row, into, True, path, address))
    return lambda: target


def _array_for_value(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    saved = binder.spec(node.row)
    if target is None or type(target).__name__ == saved.framework:
        return binder.fresh(node)
    if not saved.shape and isinstance(target, int | float | complex) and _is_fixed(saved):
        # A counter that was a number at first, and an array after the first step.
        return binder.fresh(node)
    return binder.problem(path, f"saved as {saved}, wanted a {type(target).__name__}")


def _unlike(binder: Binder, node: Node, target: Any, path: str, wanted: arrays.ArraySpec) -> Thunk:
    """Bind a saved array to one of another dtype or shape, where that can be."""
    saved = binder.spec(node.row)
    adapter = arrays.adapter_of(target)
    assert adapter is not None
    what = f"saved as {saved}, wanted {wanted}"
    if saved.shape != wanted.shape:
        return binder.problem(path, what)
    if binder.convert:
        return _converted(binder, node, target, path, wanted)
    if not adapter.mutable and _is_fixed(saved):
        # A moment that took another dtype in the first step: it can be had as it was.
        binder.differing.append(f"{path!r}: {what}")
        return binder.fresh(node)
    return binder.problem(path, what)


def _converted(
    binder: Binder, node: Node, target: Any, path: str, wanted: arrays.ArraySpec
) -> Thunk:
    saved = binder.spec(node.row)
    adapter: object = arrays.adapter_of(target)
    what = f"saved as {saved}, wanted {wanted}"
    same = arrays.adapter_named(saved.framework) is adapter
    if not same or not isinstance(adapter, arrays.ConvertingAdapter):
        return binder.problem(path, f"{what}; they do not convert")
    if not adapter.converts(saved.dtype, wanted.dtype):
        return binder.problem(path, f"{what}; of such values too much would be lost")
    binder.converted.append(f"{path!r}: {saved.dtype} to {wanted.dtype}")
    make, convert_into = binder.fresh(node), adapter.convert_into

    def put() -> Any:
        convert_into(target, make())
        return target

    return put


def _staged(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    adapter = arrays.adapter_of(target)
    assert adapter is not None
    staging = as_bytes(np.empty(binder.spec(node.row).nbytes, np.uint8))
    binder.reads.append(Read(node.row, staging, False, path))

    def put() -> Any:
        adapter.assign(target, staging)
        return target

    return put


def _is_fixed(spec: arrays.ArraySpec) -> bool:
    adapter = arrays.adapter_named(spec.framework)
    return adapter is not None and not adapter.mutable
