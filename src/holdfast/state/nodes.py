"""The saved tree as nodes: columns decoded and checked, paths and plain values attached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from holdfast.errors import ManifestDamaged
from holdfast.format.tree import (
    BLOBS,
    CONTAINERS,
    KEYED,
    ROOTS,
    TYPED,
    WRAPPERS,
    KeyKind,
    NodeKind,
    TreeColumns,
)
from holdfast.state import values
from holdfast.state.paths import join

MAX_DEPTH = 200


@dataclass(slots=True)
class Node:
    """One node of a saved tree. ``row`` is the array's row for ARRAY and ALIAS, else -1."""

    kind: NodeKind
    path: str
    key: str | int | bool | float | None = None
    type_name: str = ""
    children: list[Node] = field(default_factory=list)
    value: object = None
    row: int = -1

    def leaves(self) -> Iterator[Node]:
        """Yield the leaves below, in order; of OMITTED nodes none."""
        stack = [self]
        while stack:
            node = stack.pop()
            if node.kind in CONTAINERS:
                stack.extend(reversed(node.children))
            elif node.kind != NodeKind.OMITTED:
                yield node


def packages_of_codecs(root: Node) -> set[str]:
    """Return what the names of codecs in a tree begin with, mostly a package."""
    found, stack = set(), [root]
    while stack:
        node = stack.pop()
        if node.kind == NodeKind.CUSTOM:
            found.add(node.type_name.partition(":")[0])
        stack.extend(node.children)
    return found


def decode_tree(tree: TreeColumns, n_arrays: int, *, what: str) -> Node:
    """Return the root node of a tree.

    Raises:
        ManifestDamaged: The columns do not describe one whole tree.
    """
    try:
        return _Decoder(tree, n_arrays).run()
    except (ValueError, IndexError, StopIteration, KeyError, OverflowError) as error:
        raise ManifestDamaged(f"{what} has a malformed tree: {error!r}.", record=what) from error


class _Decoder:
    def __init__(self, tree: TreeColumns, n_arrays: int) -> None:
        if tree.key_kind and len(tree.key_kind) != len(tree.key):
            raise ValueError("as many key kinds as keys are needed")
        self._kinds = iter(tree.kind)
        self._children = iter(tree.children)
        self._keys = iter(tree.key)
        self._key_kinds = iter(tree.key_kind or [KeyKind.STR] * len(tree.key))
        self._types = iter(tree.type_name)
        self._ints = iter(tree.ints)
        self._floats = iter(tree.floats)
        self._blobs = iter(tree.blobs)
        self._refs = iter(tree.refs)
        self._n_arrays = n_arrays
        self._next_row = 0

    def run(self) -> Node:
        root = self._node("", None, 0)
        if root.kind not in ROOTS or any(type(child.key) is not str for child in root.children):
            raise ValueError("the root is no mapping of names")
        columns = (
            self._kinds,
            self._children,
            self._keys,
            self._types,
            self._ints,
            self._floats,
            self._blobs,
            self._refs,
        )
        if self._next_row != self._n_arrays or any(next(c, None) is not None for c in columns):
            raise ValueError("columns are longer than the tree")
        return root

    def _node(self, path: str, key: object, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        node = Node(NodeKind(next(self._kinds)), path, key)  # type: ignore[arg-type]
        if node.kind in TYPED:
            node.type_name = next(self._types)
        if node.kind in CONTAINERS:
            self._fill(node, depth)
        else:
            self._leaf(node)
        return node

    def _fill(self, node: Node, depth: int) -> None:
        count = next(self._children)
        if node.kind in KEYED:
            self._fill_keyed(node, count, depth)
        elif node.kind in WRAPPERS:
            if count != 1:
                raise ValueError("a wrapped value has one child")
            node.children.append(self._node(node.path, None, depth + 1))
        else:
            for i in range(count):
                node.children.append(self._node(join(node.path, i), i, depth + 1))

    def _fill_keyed(self, node: Node, count: int, depth: int) -> None:
        seen = set()
        for _ in range(count):
            kind = next(self._key_kinds)
            key = values.decode_key(kind, next(self._keys))
            if node.kind in TYPED and kind != KeyKind.STR:
                raise ValueError("a field's name is no text")
            child = self._node(join(node.path, key), key, depth + 1)
            if child.kind == NodeKind.OMITTED:
                raise ValueError("an element was left out of a mapping")
            seen.add(key)
            node.children.append(child)
        if len(seen) != count:
            # Of keys that are equal a mapping would silently keep the last.
            raise ValueError("a key comes twice")

    def _leaf(self, node: Node) -> None:
        kind = node.kind
        if kind == NodeKind.ARRAY:
            node.row = self._next_row
            self._next_row += 1
        elif kind == NodeKind.ALIAS:
            node.row = next(self._refs)
            if node.row >= self._next_row:
                raise ValueError("an alias comes before its array")
        elif kind in BLOBS:
            node.value = blob = next(self._blobs)
            values.check_blob(kind, blob)
        elif kind == NodeKind.INT:
            node.value = next(self._ints)
        elif kind == NodeKind.FLOAT:
            node.value = next(self._floats)
        elif kind == NodeKind.COMPLEX:
            node.value = complex(next(self._floats), next(self._floats))
        elif kind in (NodeKind.TRUE, NodeKind.FALSE):
            node.value = kind == NodeKind.TRUE


def plain_value(node: Node) -> object:
    """Return the value of a leaf that is no array."""
    if node.kind in BLOBS and isinstance(node.value, bytes):
        return values.decode_blob(node.kind, node.value, node.type_name, node.path)
    return node.value


def prune(node: Node, chosen: Callable[[str], bool]) -> Node:
    """Return the tree with every leaf that is not chosen made OMITTED, aliases resolved.

    Where an array is left out but an alias of it is chosen, the alias stands on its own: its
    row names the same bytes.
    """
    if node.kind in CONTAINERS and node.kind != NodeKind.CUSTOM:
        children = [prune(child, chosen) for child in node.children]
        if not chosen(node.path) and all(c.kind == NodeKind.OMITTED for c in children):
            return Node(NodeKind.OMITTED, node.path, node.key)
        return Node(node.kind, node.path, node.key, node.type_name, children)
    if node.kind == NodeKind.OMITTED or chosen(node.path):
        return node
    return Node(NodeKind.OMITTED, node.path, node.key)
