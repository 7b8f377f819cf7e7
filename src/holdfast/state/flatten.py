"""A state becomes a tree of columns and a list of array leaves, in one pass and in tree order."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from holdfast.errors import UnsupportedLeaf, UsageError
from holdfast.format.tree import KeyKind, NodeKind, TreeColumns
from holdfast.state import (
    arrays,
    codecs,
    kinds,
    numpy_arrays,  # noqa: F401 - arrays of NumPy are leaves wherever a state is flattened
    values,
)
from holdfast.state.dataclass_fields import more_than_fields
from holdfast.state.paths import Patterns, join, selector
from holdfast.state.refusals import asked, unsupported
from holdfast.state.roles import entries_of
from holdfast.state.stateful import accessors

MAX_DEPTH = 200


class Leaf(NamedTuple):
    """One array of a state; ``value`` is the framework's own object.

    ``address`` is where its bytes lie in host memory in C order, None where they do not.
    """

    path: str
    value: Any
    adapter: arrays.ArrayAdapter
    spec: arrays.ArraySpec
    address: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Flat:
    """A flattened state. ``n_leaves`` counts arrays, aliases and plain values."""

    tree: TreeColumns
    leaves: list[Leaf]
    n_leaves: int

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
) -> Flat:
    """Return state as a tree.

    Args:
        state: Nested containers, arrays, plain values, and objects with ``state_dict``.
        only: Glob patterns on leaf paths; only leaves that match one are saved.
        skip: Glob patterns on leaf paths; leaves that match one are not saved.
        remembered: What the state of some objects was at an earlier moment, by the objects' ``id``;
            it is saved in the place of what it would be now.

    Raises:
        UnsupportedLeaf: Some value cannot be saved; the message names the place and what to do.
    """
    walk = _Walk(selector(only, skip, lambda: entries_of(state)), remembered or {})
    walk.visit(state, "")
    if not walk.n_leaves and (only is not None or skip is not None):
        raise UsageError(
            f"only={only!r}, skip={skip!r} leave nothing to save: no leaf path matches.",
            only=only,
            skip=skip,
        )
    return Flat(walk.tree, walk.leaves, walk.n_leaves)


Handler = Callable[["_Walk", Any, str], None]
_handlers: dict[type, Handler] = {}
_handlers_version = (-1, -1, -1)


class _Walk:
    def __init__(
        self, chosen: Callable[[str], bool] | None, remembered: Mapping[int, object]
    ) -> None:
        self.tree = TreeColumns()
        self.leaves: list[Leaf] = []
        self.n_leaves = 0
        self._chosen = chosen
        self.remembered = remembered
        self._open: list[int] = []
        self._rows: dict[Hashable, int] = {}
        self._keep: list[object] = []
        global _handlers_version
        version = (arrays.registry_version(), codecs.codec_count(), kinds.kind_count())
        if version != _handlers_version:
            _handlers.clear()
            _handlers_version = version

    def visit(self, value: Any, path: str) -> None:
        handler = _handlers.get(type(value))
        if handler is None:
            handler = _resolve(value, path)
        handler(self, value, path)

    # --- containers ---

    def container(self, kind: NodeKind, value: object, path: str, n: int) -> None:
        if id(value) in self._open:
            raise UnsupportedLeaf(f"{path!r} contains itself; a state is a tree.", path=path)
        if len(self._open) >= MAX_DEPTH:
            raise UnsupportedLeaf(f"{path!r} is nested deeper than {MAX_DEPTH}.", path=path)
        self._open.append(id(value))
        self.tree.kind.append(kind)
        self.tree.children.append(n)

    def close(self) -> None:
        self._open.pop()

    def keyed(self, kind: NodeKind, value: object, items: list[tuple[Any, Any]], path: str) -> None:
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
            if not chosen and (is_whole or not _may_hold_leaves(child)):
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

    @contextmanager
    def unfiltered(self) -> Iterator[None]:
        chosen, self._chosen = self._chosen, None
        try:
            yield
        finally:
            self._chosen = chosen

    def _mark(self) -> list[int]:
        return [len(getattr(self.tree, f.name)) for f in dataclasses.fields(TreeColumns)]

    def _rewind(self, mark: list[int]) -> None:
        for f, length in zip(dataclasses.fields(TreeColumns), mark, strict=True):
            del getattr(self.tree, f.name)[length:]

    def key(self, key: object, path: str) -> None:
        tree = self.tree
        kind, data = values.encode_key(key, path)
        if kind != KeyKind.STR and not tree.key_kind:
            tree.key_kind.extend([KeyKind.STR] * len(tree.key))
        tree.key.append(data)
        if tree.key_kind or kind != KeyKind.STR:
            tree.key_kind.append(kind)

    def sequence(self, kind: NodeKind, value: Any, path: str) -> None:
        self.container(kind, value, path, len(value))
        for i, child in enumerate(value):
            child_path = f"{path}/{i}" if path else str(i)
            chosen = self._chosen is None or self._chosen(child_path)
            if chosen or _may_hold_leaves(child):
                self.visit(child, child_path)
            else:
                self.tree.kind.append(NodeKind.OMITTED)
        self.close()

    def wrapped(self, kind: NodeKind, name: str, value: object, inner: object, path: str) -> None:
        self.container(kind, value, path, 1)
        self.tree.type_name.append(name)
        self._keep.append(inner)
        self.visit(inner, path)
        self.close()

    # --- leaves ---

    def plain(self, kind: NodeKind) -> None:
        self.tree.kind.append(kind)
        self.n_leaves += 1

    def blob(self, kind: NodeKind, data: bytes) -> None:
        self.plain(kind)
        self.tree.blobs.append(data)

    def array(self, adapter: arrays.ArrayAdapter, value: Any, path: str) -> None:
        spec, identity, address = adapter.describe(value, path)
        row = self._rows.get(identity) if identity is not None else None
        self.n_leaves += 1
        if row is not None and self.leaves[row].spec == spec:
            self.tree.kind.append(NodeKind.ALIAS)
            self.tree.refs.append(row)
            return
        if identity is not None:
            self._rows[identity] = len(self.leaves)
        self.tree.kind.append(NodeKind.ARRAY)
        self.leaves.append(Leaf(path, value, adapter, spec, address))


def _may_hold_leaves(value: object) -> bool:
    cls = type(value)
    if cls in (dict, OrderedDict, list, tuple) or hasattr(cls, "_fields"):
        return True
    if dataclasses.is_dataclass(cls):
        # An array that is still in a foreign file is one, too, and a leaf.
        return arrays.adapter_of(value) is None
    if kinds.kind_of(value) is not None:
        return True
    return codecs.codec_of(cls) is None and accessors(value) is not None


# --- handlers, one per kind of value -------------------------------------------------------------


def _int(walk: _Walk, value: int, path: str) -> None:
    if values.INT64_MIN <= value <= values.INT64_MAX:
        walk.plain(NodeKind.INT)
        walk.tree.ints.append(value)
    else:
        walk.blob(NodeKind.BIG_INT, values.encode_big_int(value))


def _float(walk: _Walk, value: float, path: str) -> None:
    walk.plain(NodeKind.FLOAT)
    walk.tree.floats.append(value)


def _complex(walk: _Walk, value: complex, path: str) -> None:
    walk.plain(NodeKind.COMPLEX)
    walk.tree.floats += [value.real, value.imag]


def _text(walk: _Walk, value: Any, path: str) -> None:
    adapter = arrays.adapter_of(value)
    if adapter is not None:
        walk.array(adapter, value, path)
    elif isinstance(value, bytes):
        walk.blob(NodeKind.BYTES, value)
    else:
        walk.blob(NodeKind.STR, value.encode("utf-8", "surrogatepass"))


def _datetime(walk: _Walk, value: dt.datetime, path: str) -> None:
    try:
        blob = values.encode_datetime(value)
    except ValueError as error:
        raise UnsupportedLeaf(
            f"{path!r} is a datetime that cannot be saved: {error}.", path=path
        ) from error
    walk.blob(NodeKind.DATETIME, blob)


def _enum(walk: _Walk, value: Enum, path: str) -> None:
    if value.name is None or value.name not in type(value).__members__:
        raise UnsupportedLeaf(
            f"{path!r} is {value!r}, which is no single member of its enum.", path=path
        )
    walk.tree.type_name.append(values.type_name(type(value)))
    walk.blob(NodeKind.ENUM, value.name.encode())


def _named_tuple(walk: _Walk, value: Any, path: str) -> None:
    walk.tree.type_name.append(values.type_name(type(value)))
    items = list(zip(value._fields, value, strict=True))
    walk.keyed(NodeKind.NAMED_TUPLE, value, items, path)


def _dataclass(walk: _Walk, value: Any, path: str) -> None:
    names = [f.name for f in dataclasses.fields(value)]
    if problem := more_than_fields(value, names):
        raise UnsupportedLeaf(
            f"{path!r} is a {type(value).__qualname__}, a dataclass that {problem}; nothing was "
            "saved. Make that a field of it, or give its class state_dict() and load_state_dict(). "
            f"To leave it out: skip={path!r}.",
            path=path,
            type_name=type(value).__qualname__,
        )
    walk.tree.type_name.append(values.type_name(type(value)))
    items = [(name, getattr(value, name)) for name in names]
    walk.keyed(NodeKind.DATACLASS, value, items, path)


def _stateful(walk: _Walk, value: Any, path: str) -> None:
    found = accessors(value)
    assert found is not None
    _object(walk, value, found[0], path)


def _of_kind(walk: _Walk, value: Any, path: str) -> None:
    kind = kinds.kind_of(value)
    assert kind is not None
    _object(walk, value, lambda: kind.take(value), path)


def _object(walk: _Walk, value: Any, take: Callable[[], object], path: str) -> None:
    earlier = walk.remembered.get(id(value))
    inner = asked(take, value, path) if earlier is None else earlier
    walk.wrapped(NodeKind.STATEFUL, values.type_name(type(value)), value, inner, path)


def _custom(walk: _Walk, value: Any, path: str) -> None:
    codec = codecs.codec_of(type(value))
    assert codec is not None
    with walk.unfiltered():
        earlier = walk.remembered.get(id(value))
        inner = asked(lambda: codec.encode(value), value, path) if earlier is None else earlier
        walk.wrapped(NodeKind.CUSTOM, codec.name, value, inner, path)


_PLAIN: dict[type, Handler] = {
    type(None): lambda walk, value, path: walk.plain(NodeKind.NONE),
    bool: lambda walk, value, path: walk.plain(NodeKind.TRUE if value else NodeKind.FALSE),
    int: _int,
    float: _float,
    complex: _complex,
    str: _text,
    bytes: _text,
    dt.datetime: _datetime,
    dict: lambda walk, value, path: walk.keyed(NodeKind.DICT, value, list(value.items()), path),
    OrderedDict: lambda walk, value, path: walk.keyed(
        NodeKind.ORDERED_DICT, value, list(value.items()), path
    ),
    list: lambda walk, value, path: walk.sequence(NodeKind.LIST, value, path),
    tuple: lambda walk, value, path: walk.sequence(NodeKind.TUPLE, value, path),
}


def _resolve(value: Any, path: str) -> Handler:
    cls = type(value)
    handler = _PLAIN.get(cls) or _find(value, cls)
    if handler is None:
        raise UnsupportedLeaf(unsupported(value, cls, path), path=path, type_name=cls.__qualname__)
    _handlers[cls] = handler
    return handler


def _find(value: Any, cls: type) -> Handler | None:
    if codecs.codec_of(cls) is not None:
        return _custom
    adapter = arrays.adapter_of(value)
    if adapter is not None:
        return lambda walk, value, path: walk.array(adapter, value, path)
    if isinstance(value, np.generic):
        return lambda walk, value, path: walk.blob(
            NodeKind.SCALAR, values.encode_scalar(value, path)
        )
    if kinds.kind_of(value) is not None:
        return _of_kind
    if isinstance(value, Enum):
        return _enum
    if accessors(value) is not None:
        return _stateful
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return _named_tuple
    if isinstance(value, Path):
        return lambda walk, value, path: walk.blob(NodeKind.PATH, values.encode_path(value))
    return None
