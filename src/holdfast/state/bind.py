"""A saved tree meets the objects that shall take it: what to read to where, what does not fit.

Binding changes nothing. It gives the reads to be done and, for after the reads, one function
that puts everything into place; and it lists every leaf that is missing, unexpected or of another
shape, dtype or kind, so that nothing is touched where something does not fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from math import prod
from typing import Any

import numpy as np

from holdfast.errors import Mismatch, UnsupportedLeaf
from holdfast.format.dtypes import itemsize
from holdfast.format.shared import PER_RANK
from holdfast.format.tree import CONTAINERS, KEYED, SEQUENCES, NodeKind
from holdfast.state import arrays, rebuild
from holdfast.state.bind_arrays import FreshArrays, array_into, standing_adapter
from holdfast.state.bind_containers import fields_into, mapping_into, sequence_into
from holdfast.state.bind_objects import custom_into, stateful_binder, takes_state_of
from holdfast.state.nodes import Node, plain_value
from holdfast.state.paths import join
from holdfast.state.reads import Read, Thunk
from holdfast.state.sharding import held_of
from holdfast.state.values import NUMBERS, may_replace, member_of


class Binder:
    """Collects what a restore will do, and what stands against it."""

    def __init__(
        self,
        rows: Sequence[arrays.SavedArray],
        *,
        chosen: Callable[[str], bool] | None = None,
        convert: bool = False,
    ) -> None:
        self.rows = rows
        # Whether values may become those of another dtype, and which did.
        self.convert = convert
        self.converted: list[str] = []
        self.reads: list[Read] = []
        self._missing: list[tuple[str, object]] = []
        # Leaves that stand, were not saved, and are not wanted either.
        self.spared: list[str] = []
        self.unexpected: list[str] = []
        self.problems: list[str] = []
        # Values of another kind than wanted, which can be put in their place all the same; and
        # objects of another class, which are left as they are.
        self.differing: list[str] = []
        # Which row fills memory that stands, by its address, dtype and shape.
        self._owners: dict[tuple[int, str, tuple[int, ...]], int] = {}
        # Rows that would fill the memory of others: those, and the path. They must be equal.
        self.doubles: list[tuple[int, int, str]] = []
        self._chosen = chosen
        self._fresh_arrays = FreshArrays(self.reads)

    def spec(self, row: int) -> arrays.ArraySpec:
        """Return what a saved array was in the state, where it may have had more bits."""
        found = self.rows[row]
        dtype, nbytes = found.dtype, found.nbytes
        if found.cast_from:
            dtype, nbytes = found.cast_from, prod(found.shape) * itemsize(found.cast_from)
        return arrays.ArraySpec(found.framework, dtype, found.shape, nbytes)

    def claim(self, row: int, address: int, spec: arrays.ArraySpec, path: str) -> bool:
        """Note that row goes to that memory; False where another does so already (tied arrays)."""
        layout = (address, spec.dtype, spec.shape)
        owner = self._owners.get(layout)
        if owner is None:
            self._owners[layout] = row
            return True
        if self.rows[owner].framework != self.rows[row].framework:
            # Memory that two frameworks look at was saved from both, and is compared when read.
            return True
        if owner != row:
            self.doubles.append((owner, row, path))
        return False

    # --- new values ---

    def fresh(self, node: Node) -> Thunk:
        """Return a function that gives a new value of node, once its arrays are read."""
        if node.kind in (NodeKind.ARRAY, NodeKind.ALIAS):
            return self._fresh_arrays.of(node, self.spec(node.row))
        if node.kind in CONTAINERS:
            rebuild.require_class(node)
            children = [(c, self.fresh(c)) for c in node.children]
            return lambda: rebuild.container(node, [(c, thunk()) for c, thunk in children])
        value = plain_value(node)
        return lambda: value

    # --- values that stand ---

    def into(self, node: Node, target: Any, path: str) -> Thunk:
        """Return a function that puts node into target, once its arrays are read.

        What the function returns takes the place of target where that could not be changed.
        """
        if node.kind == NodeKind.OMITTED:
            # Left out when it was saved, unless it is left out now; what fewer ranks have saved for
            # themselves stays as it is on the others.
            if node.value != PER_RANK:
                self.note_missing(target, path)
            return lambda: target
        handler = stateful_binder(target)
        if handler is not None:
            if node.kind != NodeKind.STATEFUL:
                return handler(self, node, target, path)
            if takes_state_of(self, node, target, path):
                return handler(self, node.children[0], target, path)
            return lambda: target
        if node.kind == NodeKind.STATEFUL:
            return self.into(node.children[0], target, path)
        if node.kind in (NodeKind.ARRAY, NodeKind.ALIAS):
            return array_into(self, node, target, path)
        if (adapter := standing_adapter(target)) is not None:
            if not adapter.mutable and node.kind in NUMBERS and np.ndim(target) == 0:
                return self.fresh(node)
            return self.problem(path, f"saved as {_describe(node)}, wanted an array")
        if node.kind == NodeKind.CUSTOM:
            return custom_into(self, node, target, path)
        return self._plain_into(node, target, path)

    def _plain_into(self, node: Node, target: Any, path: str) -> Thunk:
        if node.kind in KEYED and isinstance(target, dict):
            return mapping_into(self, node, target, path)
        if node.kind in KEYED and dataclasses.is_dataclass(target):
            return fields_into(self, node, target, path)
        if node.kind in SEQUENCES and isinstance(target, list | tuple):
            return sequence_into(self, node, target, path)
        if isinstance(target, dict | list | tuple):
            return self.problem(path, f"saved as {_describe(node)}, wanted {_kind_of(target)}")
        return self._value_into(node, target, path)

    def _value_into(self, node: Node, target: Any, path: str) -> Thunk:
        if node.kind == NodeKind.ENUM and isinstance(target, Enum):
            # Its class need not be found by name.
            value = member_of(type(target), node.value, path)
            return lambda: value
        if not may_replace(node.kind, target):
            self.differing.append(
                f"{path!r}: saved as {_describe(node)}, wanted {_kind_of(target)}"
            )
        return self.fresh(node)

    # --- what does not fit ---

    def problem(self, path: str, what: str) -> Thunk:
        """Note what does not fit; what is returned will not be called."""
        self.problems.append(f"{path!r}: {what}")
        return lambda: None

    def note_missing(self, value: object, path: str) -> None:
        """Note that a leaf, or every leaf of a mapping, is wanted but was not saved."""
        if isinstance(value, Mapping) and value:
            for key, child in value.items():
                self.note_missing(child, join(path, key))
        elif self._chosen is None or self._chosen(path):
            self._missing.append((path, value))
        else:
            self.spared.append(path)

    @property
    def missing(self) -> list[str]:
        """Paths of leaves that are wanted, but were not saved.

        What stands in the memory of a leaf that was saved gets its values with that.
        """
        return [path for path, value in self._missing if not self._is_filled(value, path)]

    def _is_filled(self, value: object, path: str) -> bool:
        adapter = standing_adapter(value)
        if adapter is None or held_of(value, path) is not None:
            return False
        try:
            spec, _, address = adapter.describe(value, path)
        except UnsupportedLeaf:
            return False
        return address is not None and (address, spec.dtype, spec.shape) in self._owners

    def note_unexpected(self, node: Node) -> None:
        """Note that the leaves of a node were saved and have no place here."""
        self.unexpected += [leaf.path for leaf in node.leaves()]


def _describe(node: Node) -> str:
    return node.kind.name.lower().replace("_", " ")


def _kind_of(target: object) -> str:
    return f"a {type(target).__name__}"


def unfit(problems: Sequence[str], *, lenient_helps: bool) -> Mismatch:
    """Return the error that lists what does not fit, and whether less strictness would help."""
    shown = "\n  ".join(problems[:20])
    more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
    return Mismatch(
        f"The checkpoint does not fit; nothing was changed.\n  {shown}{more}\n"
        f"Restore a part with only= or skip={', or what fits with strict=False' * lenient_helps}.",
        problems=problems,
    )
