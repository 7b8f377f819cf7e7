"""A saved tree meets the objects that shall take it: what to read to where, what does not fit.

Binding changes nothing. It gives the reads to be done and, for after the reads, one function
that puts everything into place; and it lists every leaf that is missing, unexpected or of another
shape, dtype or kind, so that nothing is touched where something does not fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np

from holdfast.errors import Mismatch, MissingDependency, UnsupportedLeaf
from holdfast.format.part import ArrayRow
from holdfast.format.tree import CONTAINERS, KEYED, SEQUENCES, NodeKind
from holdfast.state import arrays, codecs, rebuild
from holdfast.state.bind_objects import is_told_by_leaves, stateful_binder
from holdfast.state.nodes import Node, plain_value
from holdfast.state.numpy_arrays import as_bytes, memory_at
from holdfast.state.paths import join
from holdfast.state.reads import Read
from holdfast.state.values import NUMBERS, may_replace, member_of

Thunk = Callable[[], Any]


class Binder:
    """Collects what a restore will do, and what stands against it."""

    def __init__(
        self,
        rows: Sequence[ArrayRow],
        *,
        chosen: Callable[[str], bool] | None = None,
        convert: bool = False,
    ) -> None:
        self.rows = rows
        # Whether values may become those of another dtype, and which did.
        self.convert = convert
        self.converted: list[str] = []
        self.reads: list[Read] = []
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.problems: list[str] = []
        # Values of another kind than wanted, which can be put in their place all the same; and
        # objects of another class, which are left as they are.
        self.differing: list[str] = []
        self._chosen = chosen
        self._fresh: dict[int, tuple[arrays.ArrayAdapter, Any]] = {}
        self._finished: dict[int, Any] = {}
        self._owners: dict[tuple[object, ...], int] = {}
        self._claimed: set[tuple[object, ...]] = set()

    # --- new values ---

    def fresh(self, node: Node) -> Thunk:
        """Return a function that gives a new value of node, once its arrays are read."""
        if node.kind in (NodeKind.ARRAY, NodeKind.ALIAS):
            return self._fresh_array(node)
        if node.kind in CONTAINERS:
            rebuild.require_class(node)
            children = [(c, self.fresh(c)) for c in node.children]
            return lambda: rebuild.container(node, [(c, thunk()) for c, thunk in children])
        value = plain_value(node)
        return lambda: value

    def _fresh_array(self, node: Node) -> Thunk:
        row = node.row
        if row not in self._fresh:
            spec = self._spec(row)
            adapter = arrays.adapter_named(spec.framework)
            if adapter is None:
                package = spec.framework.partition("-")[0]
                raise MissingDependency(
                    f"{node.path!r} was saved as an array of {spec.framework}, which is not "
                    f"installed or not supported here: pip install 'holdfast[{package}]'. Or load "
                    f"with skip={node.path!r}, or into an array of another framework with into=.",
                    path=node.path,
                    package=package,
                )
            value, view = adapter.create(spec, None)
            self._fresh[row] = adapter, value
            self.reads.append(Read(row, view, False, node.path))

        def finish() -> Any:
            if row not in self._finished:
                adapter, value = self._fresh[row]
                self._finished[row] = adapter.finish(value, None)
            return self._finished[row]

        return finish

    # --- values that stand ---

    def into(self, node: Node, target: Any, path: str) -> Thunk:
        """Return a function that puts node into target, once its arrays are read.

        What the function returns takes the place of target where that could not be changed.
        """
        if node.kind == NodeKind.OMITTED:
            # Left out when it was saved, unless it is left out now.
            self.note_missing(target, path)
            return lambda: target
        handler = stateful_binder(target)
        if handler is not None:
            if node.kind == NodeKind.STATEFUL:
                if not self._is_of_class(node, target, path):
                    return lambda: target
                node = node.children[0]
            return handler(self, node, target, path)
        if node.kind == NodeKind.STATEFUL:
            return self.into(node.children[0], target, path)
        if node.kind in (NodeKind.ARRAY, NodeKind.ALIAS):
            return self._array_into(node, target, path)
        adapter = arrays.adapter_of(target)
        if adapter is not None and not isinstance(target, str | bytes):
            if not adapter.mutable and node.kind in NUMBERS and np.ndim(target) == 0:
                return self.fresh(node)
            return self._problem(path, f"saved as {_describe(node)}, wanted an array")
        if node.kind == NodeKind.CUSTOM:
            return self._custom_into(node, target, path)
        if node.kind in KEYED and isinstance(target, dict):
            return self._mapping_into(node, target, path)
        if node.kind in KEYED and dataclasses.is_dataclass(target):
            return self._fields_into(node, target, path)
        if node.kind in SEQUENCES and isinstance(target, list | tuple):
            return self._sequence_into(node, target, path)
        if isinstance(target, dict | list | tuple):
            return self._problem(path, f"saved as {_describe(node)}, wanted {_kind_of(target)}")
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

    def _is_of_class(self, node: Node, target: Any, path: str) -> bool:
        """Say whether an object can take the state of what was saved; note it if not.

        Modules can, whatever they are: their leaves tell what fits. Of an optimizer or a schedule
        the same names can mean other things, and it may need what the other does not have.
        """
        saved, wanted = node.type_name.rpartition(":")[2], type(target).__qualname__
        if saved == wanted or is_told_by_leaves(target):
            return True
        self.differing.append(f"{path!r}: saved from a {saved}, wanted a {wanted}")
        return False

    def _array_into(self, node: Node, target: Any, path: str) -> Thunk:
        adapter = arrays.adapter_of(target)
        if adapter is None or isinstance(target, str | bytes):
            if target is None or type(target).__name__ == self.rows[node.row].framework:
                return self.fresh(node)
            spec = self._spec(node.row)
            if not spec.shape and isinstance(target, int | float | complex) and _is_fixed(spec):
                # A counter that was a number at first, and an array after the first step.
                return self.fresh(node)
            return self._problem(path, f"saved as {spec}, wanted {_kind_of(target)}")
        saved = self._spec(node.row)
        try:
            wanted, _, address = adapter.describe(target, path)
        except UnsupportedLeaf as error:
            what = error.facts.get("what", "cannot take values")
            return self._problem(path, f"saved as {saved}, but what stands there {what}")
        if saved[1:3] != wanted[1:3]:
            if self.convert and saved.shape == wanted.shape:
                return self._converted(node, target, path, saved, wanted)
            if saved.shape == wanted.shape and not adapter.mutable and _is_fixed(saved):
                # A moment that took another dtype in the first step: it can be had as it was.
                self.differing.append(f"{path!r}: saved as {saved}, wanted {wanted}")
                return self.fresh(node)
            return self._problem(path, f"saved as {saved}, wanted {wanted}")
        if saved.nbytes == 0:
            return lambda: target
        if not adapter.mutable or not adapter.is_writable(target):
            value, view = adapter.create(saved, target)
            self.reads.append(Read(node.row, view, False, path))
            return lambda: adapter.finish(value, target)
        if address is None:
            return self._staged(node, target, adapter, path)
        if self._claim(node.row, address, path):
            into = memory_at(address, saved.nbytes)
            self.reads.append(Read(node.row, into, True, path, address))
        return lambda: target

    def _converted(
        self,
        node: Node,
        target: Any,
        path: str,
        saved: arrays.ArraySpec,
        wanted: arrays.ArraySpec,
    ) -> Thunk:
        adapter: object = arrays.adapter_of(target)
        same = arrays.adapter_named(saved.framework) is adapter
        if not same or not isinstance(adapter, arrays.ConvertingAdapter):
            return self._problem(path, f"saved as {saved}, wanted {wanted}; they do not convert")
        if not adapter.converts(saved.dtype, wanted.dtype):
            return self._problem(
                path, f"saved as {saved}, wanted {wanted}; of such values too much would be lost"
            )
        self.converted.append(f"{path!r}: {saved.dtype} to {wanted.dtype}")
        make, convert_into = self.fresh(node), adapter.convert_into

        def put() -> Any:
            convert_into(target, make())
            return target

        return put

    def _staged(self, node: Node, target: Any, adapter: arrays.ArrayAdapter, path: str) -> Thunk:
        staging = as_bytes(np.empty(self._spec(node.row).nbytes, np.uint8))
        self.reads.append(Read(node.row, staging, False, path))

        def put() -> Any:
            adapter.assign(target, staging)
            return target

        return put

    def _claim(self, row: int, address: int, path: str) -> bool:
        """Note that row goes to that memory; False where it does so already (tied arrays)."""
        layout = (address, *self.rows[row][1:3])
        owner = self._owners.setdefault(layout, row)
        if self.rows[owner].framework != self.rows[row].framework:
            # Memory that two frameworks look at was saved from both, and is compared when read.
            return True
        if owner != row:
            self.problems.append(
                f"{path!r}: shares its memory with another leaf here, but was saved as different "
                "values; untie them, or restore one of them with skip="
            )
        first = layout not in self._claimed
        self._claimed.add(layout)
        return first

    def _mapping_into(self, node: Node, target: dict[Any, Any], path: str) -> Thunk:
        if not target:
            make = self.fresh(node)

            def adopt() -> Any:
                target.update(make())
                return target

            return adopt
        slots = []
        saved = {child.key: child for child in node.children}
        for key, child in saved.items():
            if key in target:
                slots.append((key, self.into(child, target[key], join(path, key))))
            else:
                self.unexpected += [leaf.path for leaf in child.leaves()]
        for key, value in target.items():
            if key not in saved:
                self.note_missing(value, join(path, key))

        def put() -> Any:
            for key, thunk in slots:
                value = thunk()
                if value is not target[key]:
                    target[key] = value
            return target

        return put

    def _fields_into(self, node: Node, target: Any, path: str) -> Thunk:
        slots = []
        names = {f.name for f in dataclasses.fields(target)}
        saved = {child.key: child for child in node.children}
        for key, child in saved.items():
            if isinstance(key, str) and key in names:
                slots.append((key, self.into(child, getattr(target, key), join(path, key))))
            else:
                self.unexpected += [leaf.path for leaf in child.leaves()]
        for name in names - saved.keys():
            self.note_missing(getattr(target, name), join(path, name))

        def put() -> Any:
            values = {key: thunk() for key, thunk in slots}
            changed = {k: v for k, v in values.items() if v is not getattr(target, k)}
            if type(target).__dataclass_params__.frozen and changed:
                return rebuild.replaced(target, changed)
            for key, value in changed.items():
                setattr(target, key, value)
            return target

        return put

    def _sequence_into(self, node: Node, target: Any, path: str) -> Thunk:
        if isinstance(target, list) and not target:
            make = self.fresh(node)

            def adopt() -> Any:
                target.extend(make())
                return target

            return adopt
        if len(node.children) != len(target):
            if not isinstance(target, list) or _has_arrays(node):
                return self._problem(
                    path, f"saved with {len(node.children)} elements, wanted {len(target)}"
                )
            make = self.fresh(node)

            def replace() -> Any:
                target[:] = make()
                return target

            return replace
        thunks = [
            self.into(child, value, join(path, i))
            for i, (child, value) in enumerate(zip(node.children, target, strict=True))
        ]

        def put() -> Any:
            values = [thunk() for thunk in thunks]
            if all(new is old for new, old in zip(values, target, strict=True)):
                return target
            if isinstance(target, list):
                target[:] = values
                return target
            return rebuild.like_tuple(target, values)

        return put

    def _custom_into(self, node: Node, target: Any, path: str) -> Thunk:
        codec = codecs.codec_of(type(target))
        if codec is None or codec.name != node.type_name:
            return self.fresh(node)
        if codec.update is None and not codec.alike:
            return self.fresh(node)
        if codec.variant is not None:
            tree: Any = codec.encode(target)
            saved = next((c for c in node.children[0].children if c.key == codec.variant), None)
            if saved is not None and plain_value(saved) != tree[codec.variant]:
                return self._problem(
                    path, f"saved over {plain_value(saved)}, wanted over {tree[codec.variant]}"
                )
        if codec.update is None:
            inner = self.into(node.children[0], codec.encode(target), path)
            return lambda: codec.decode(inner())
        update, make = codec.update, self.fresh(node.children[0])

        def put() -> Any:
            update(target, make())
            return target

        return put

    # --- what does not fit ---

    def _problem(self, path: str, what: str) -> Thunk:
        self.problems.append(f"{path!r}: {what}")
        return lambda: None

    def note_missing(self, value: object, path: str) -> None:
        """Note that a leaf, or every leaf of a mapping, is wanted but was not saved."""
        if isinstance(value, Mapping) and value:
            for key, child in value.items():
                self.note_missing(child, join(path, key))
        elif self._chosen is None or self._chosen(path):
            self.missing.append(path)

    def _spec(self, row: int) -> arrays.ArraySpec:
        found = self.rows[row]
        return arrays.ArraySpec(found.framework, found.dtype, found.shape, found.nbytes)


def _is_fixed(spec: arrays.ArraySpec) -> bool:
    adapter = arrays.adapter_named(spec.framework)
    return adapter is not None and not adapter.mutable


def _has_arrays(node: Node) -> bool:
    return any(leaf.row >= 0 for leaf in node.leaves())


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
