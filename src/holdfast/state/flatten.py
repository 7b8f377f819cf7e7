"""A state becomes a tree of columns and a list of array leaves, in one pass and in tree order."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from math import prod
from typing import Any, NamedTuple

from holdfast.errors import UnsupportedLeaf, UsageError
from holdfast.format.tree import KeyKind, NodeKind, TreeColumns
from holdfast.state import (
    arrays,
    numpy_arrays,  # noqa: F401 - arrays of NumPy are leaves wherever a state is flattened
    values,
)
from holdfast.state.casts import Casts, differing, export_cast
from holdfast.state.flatten_shared import Gathered, SharedState, own_value, shared_array
from holdfast.state.flatten_values import handler_of, known_handlers, may_hold_leaves
from holdfast.state.paths import Choice, Patterns, join, selector
from holdfast.state.roles import entries_of
from holdfast.state.sharding import Sharing, all_of, is_per_rank, led_by_first

MAX_DEPTH = 200


class Leaf(NamedTuple):
    """One array of a state; ``value`` is the framework's own object.

    ``spec`` is what is saved of it. ``address`` is where those bytes lie in host memory in C order,
    None where they do not.
    """

    path: str
    value: Any
    adapter: arrays.ArrayAdapter
    spec: arrays.ArraySpec
    address: int | None

    def export(self, into: memoryview) -> None:
        """Fill into with the bytes that are saved of it.

        Raises:
            UnsupportedLeaf: It is to be cast, and the narrower type cannot hold its values.
        """
        if self.spec.cast_from:
            export_cast(self.adapter, self.value, self.spec, self.path, into)
        else:
            self.adapter.export(self.value, into)


@dataclasses.dataclass(frozen=True, slots=True)
class Flat:
    """A flattened state. ``n_leaves`` counts arrays, aliases and plain values.

    Of a state that several ranks save together ``shared`` is what all of them agree on, and
    ``tree`` what this one has for itself.
    """

    tree: TreeColumns
    leaves: list[Leaf]
    n_leaves: int
    shared: SharedState | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, aliases counted once."""
        return sum(leaf.spec.nbytes for leaf in self.leaves)


def flatten(
    state: object,
    *,
    only: Patterns = None,
    skip: Patterns = None,
    remembered: Mapping[int, object] | None = None,
    sharing: Sharing | None = None,
    casts: Casts | None = None,
) -> Flat:
    """Return state as a tree.

    Args:
        state: Nested containers, arrays, plain values, and objects with ``state_dict``.
        only: Glob patterns on leaf paths; only leaves that match one are saved.
        skip: Glob patterns on leaf paths; leaves that match one are not saved.
        remembered: What the state of some objects was at an earlier moment, by the objects' ``id``;
            it is saved in the place of what it would be now.
        sharing: How several ranks save it together; None: this process saves all of it.
        casts: Which arrays are saved in fewer bits; None: none is.

    Raises:
        UnsupportedLeaf: Some value cannot be saved; the message names the place and what to do.
    """
    chosen = selector(only, skip, lambda: entries_of(state))
    walk = Walk(chosen, remembered or {}, sharing, casts or None)
    walk.visit(state, "")
    if not walk.n_leaves and (only is not None or skip is not None):
        raise UsageError(
            f"only={only!r}, skip={skip!r} leave nothing to save: no leaf path matches.",
            only=only,
            skip=skip,
        )
    return walk.result()


class Walk:
    """Goes through a state and writes down what it comes to."""

    def __init__(
        self,
        chosen: Choice | None,
        remembered: Mapping[int, object],
        sharing: Sharing | None,
        casts: Casts | None = None,
    ) -> None:
        # None where there are none, as nearly always: so many arrays are asked about.
        self.casts = casts
        self.tree = TreeColumns()
        self.leaves: list[Leaf] = []
        self.n_leaves = 0
        self._chosen = chosen
        self.remembered = remembered
        self._open: list[int] = []
        self._rows: dict[Hashable, int] = {}
        self._keep: list[object] = []
        self._sharing = sharing
        # What several ranks have together, and what this one has for itself.
        self.gathered = Gathered() if sharing is not None else None
        self._handlers = known_handlers()

    def result(self) -> Flat:
        """Return what was written down."""
        gathered = self.gathered
        if gathered is None:
            return Flat(self.tree, self.leaves, self.n_leaves)
        # Boxes come first, as the format wants it.
        leaves = self.leaves + gathered.leaves
        return Flat(gathered.own_tree(), leaves, self.n_leaves, gathered.state(self.tree))

    def visit(self, value: Any, path: str) -> None:
        """Write down a value with all that is below it."""
        sharing = self._sharing
        if sharing is not None and (sharing.is_own(path) or is_per_rank(value)):
            own_value(self, value, path)
            return
        handler = self._handlers.get(type(value))
        if handler is None:
            handler = self._handlers[type(value)] = handler_of(value, path)
        handler(self, value, path)

    # --- containers ---

    def container(self, kind: NodeKind, value: object, path: str, n: int) -> None:
        """Begin a node with n children; ``close`` ends it."""
        if id(value) in self._open:
            raise UnsupportedLeaf(f"{path!r} contains itself; a state is a tree.", path=path)
        if len(self._open) >= MAX_DEPTH:
            raise UnsupportedLeaf(f"{path!r} is nested deeper than {MAX_DEPTH}.", path=path)
        self._open.append(id(value))
        self.tree.kind.append(kind)
        self.tree.children.append(n)

    def close(self) -> None:
        """End the node that was begun last."""
        self._open.pop()

    def keyed(self, kind: NodeKind, value: object, items: list[tuple[Any, Any]], path: str) -> None:
        """Write down what has named children, those that are chosen."""
        if self._chosen is not None:
            self._keyed_filtered(kind, value, items, path)
            return
        self.container(kind, value, path, len(items))
        for key, child in items:
            self.key(key, path)
            self.visit(child, join(path, key))
        self.close()

    def _keyed_filtered(
        self, kind: NodeKind, value: object, items: list[tuple[Any, Any]], path: str
    ) -> None:
        assert self._chosen is not None
        self.container(kind, value, path, 0)
        at, kept = len(self.tree.children) - 1, 0
        for key, child in items:
            child_path = join(path, key)
            chosen = self._chosen(child_path)
            # What is holdfast's own at the root is one leaf to patterns.
            is_whole = not path and child_path.startswith("@")
            if not chosen and (is_whole or not may_hold_leaves(child)):
                continue
            if self._leaves_out(child_path):
                continue
            before, leaves = self._mark(), self.n_leaves
            self.key(key, path)
            with self.unfiltered() if is_whole else nullcontext():
                self.visit(child, child_path)
            if self.n_leaves == leaves and not chosen:
                # Nothing below it was chosen: it is as if it had not been there.
                self._rewind(before)
            else:
                kept += 1
        self.tree.children[at] = kept
        self.close()

    def _leaves_out(self, path: str) -> bool:
        # Nobody asks it for its state then, which it may be unable to give.
        return self._chosen is not None and self._chosen.leaves_out(path)

    @contextmanager
    def unfiltered(self) -> Iterator[None]:
        """Take everything that comes, as within an object that is saved whole."""
        chosen, self._chosen = self._chosen, None
        try:
            yield
        finally:
            self._chosen = chosen

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Write down what comes as this rank's own."""
        own = self.gathered
        assert own is not None
        before = self._sharing, self.tree, self.leaves, self._rows
        self._sharing, self.tree, self.leaves, self._rows = None, own.tree, own.leaves, own.rows
        try:
            yield
        finally:
            self._sharing, self.tree, self.leaves, self._rows = before

    def _mark(self) -> tuple[list[list[int]], int]:
        lengths = [[len(column) for column in _columns(tree)] for tree in self._trees()]
        return lengths, self.gathered.n_own if self.gathered is not None else 0

    def _rewind(self, mark: tuple[list[list[int]], int]) -> None:
        for tree, lengths in zip(self._trees(), mark[0], strict=True):
            for column, length in zip(_columns(tree), lengths, strict=True):
                del column[length:]
        if self.gathered is not None:
            self.gathered.n_own = mark[1]

    def _trees(self) -> list[TreeColumns]:
        return [self.tree] if self.gathered is None else [self.tree, self.gathered.tree]

    def key(self, key: object, path: str) -> None:
        """Write down the key of the child that comes next."""
        tree = self.tree
        kind, data = values.encode_key(key, path)
        if kind != KeyKind.STR and not tree.key_kind:
            tree.key_kind.extend([KeyKind.STR] * len(tree.key))
        tree.key.append(data)
        if tree.key_kind or kind != KeyKind.STR:
            tree.key_kind.append(kind)

    def sequence(self, kind: NodeKind, value: Any, path: str) -> None:
        """Write down what has numbered children; those that are not chosen leave a gap."""
        self.container(kind, value, path, len(value))
        for i, child in enumerate(value):
            child_path = f"{path}/{i}" if path else str(i)
            chosen = self._chosen is None or self._chosen(child_path)
            if chosen or (may_hold_leaves(child) and not self._leaves_out(child_path)):
                self.visit(child, child_path)
            else:
                self.tree.kind.append(NodeKind.OMITTED)
        self.close()

    def wrapped(self, kind: NodeKind, name: str, value: object, inner: object, path: str) -> None:
        """Write down an object by its state, whose leaves have the path of the object."""
        self.container(kind, value, path, 1)
        self.tree.type_name.append(name)
        self._keep.append(inner)
        self.visit(inner, path)
        self.close()

    def as_ranks_go_by_it(self, value: object, inner: object) -> object:
        """Return the state of an object as several ranks save it."""
        if self._sharing is None:
            return inner
        return led_by_first(value, inner, self._sharing.world_size)

    # --- leaves ---

    def plain(self, kind: NodeKind) -> None:
        """Write down a leaf that its kind tells."""
        self.tree.kind.append(kind)
        self.n_leaves += 1

    def blob(self, kind: NodeKind, data: bytes) -> None:
        """Write down a leaf by its bytes."""
        self.plain(kind)
        self.tree.blobs.append(data)

    def array(self, adapter: arrays.ArrayAdapter, value: Any, path: str) -> None:
        """Write down an array; one that came before as another name for it."""
        if self._sharing is not None:
            shared_array(self, self._sharing, adapter, value, path)
            return
        value = all_of(value, path)
        found, identity, address = adapter.describe(value, path)
        spec = found if self.casts is None else self.saved_as(path, found)
        row = self._rows.get(identity) if identity is not None else None
        self.n_leaves += 1
        if row is not None and self.leaves[row].spec != spec and self.casts is not None:
            raise differing(path, self.leaves[row].path)
        if row is not None and self.leaves[row].spec == spec:
            self.tree.kind.append(NodeKind.ALIAS)
            self.tree.refs.append(row)
            return
        if identity is not None:
            self._rows[identity] = len(self.leaves)
        self.tree.kind.append(NodeKind.ARRAY)
        self.box(adapter, value, path, spec, address)

    def saved_as(
        self, path: str, spec: arrays.ArraySpec, shape: tuple[int, ...] | None = None
    ) -> arrays.ArraySpec:
        """Return what an array, or a box of one of that shape, is saved as."""
        if self.casts is None:
            return spec
        return self.casts.spec_of(path, spec, prod(spec.shape if shape is None else shape))

    def box(
        self,
        adapter: arrays.ArrayAdapter,
        value: Any,
        path: str,
        spec: arrays.ArraySpec,
        address: int | None,
    ) -> None:
        """Take in an array, or a box of one of several ranks, that is written here."""
        self.leaves.append(Leaf(path, value, adapter, spec, None if spec.cast_from else address))


def _columns(tree: TreeColumns) -> list[list[Any]]:
    return [getattr(tree, column.name) for column in dataclasses.fields(TreeColumns)]
