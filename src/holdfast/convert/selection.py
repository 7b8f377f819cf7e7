"""What of a checkpoint is exported: named arrays and plain values, below one root."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.chunks.array_bytes import read_array_bytes
from holdfast.convert.naming import Rename, renamed, require_distinct
from holdfast.errors import UsageError
from holdfast.format.commit import CommitRecord
from holdfast.format.tree import WRAPPERS, NodeKind
from holdfast.plan.reads import Row
from holdfast.records.whole import Whole, read_whole
from holdfast.state.nodes import Node, plain_value
from holdfast.state.paths import Patterns, selector
from holdfast.state.roles import entries_of_tree
from holdfast.store.contract import ObjectStore

# Texts too long for the manifest are arrays of these frameworks.
LONG_TEXTS = ("bytes", "str")


def _no_text(row: int) -> str | bytes:
    raise AssertionError("a selection that was not read from a store has no long texts")


@dataclass(frozen=True, slots=True)
class NamedArray:
    """An array under the name that it gets: its row in the part, and what it is."""

    name: str
    row: int
    array: Row


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A plain value under the name that it gets."""

    name: str
    value: object


@dataclass(frozen=True, slots=True)
class Selection:
    """Leaves of a checkpoint with the names that they get in a foreign format.

    Attributes:
        ref: The checkpoint, for messages.
        part: Its manifest.
        root: The node below which everything is; its leaves are not filtered.
        arrays: In tree order; one that is tied to another comes under both names.
        values: Plain values, in tree order.
        chosen: Says of the path of a leaf whether it is selected.
        rename: The rules that names went through.
        left_out: Names of long texts, where they were not wanted.
        text_of: Reads a long text, by its row.
        turned: Rows of arrays that are stored in the other byte order than they shall get, with
            the bytes that are turned together.
    """

    ref: str
    part: Whole
    root: Node
    arrays: Sequence[NamedArray]
    values: Sequence[NamedValue]
    chosen: Callable[[str], bool]
    rename: Sequence[Rename] = ()
    left_out: Sequence[str] = ()
    text_of: Callable[[int], str | bytes] = _no_text
    turned: Mapping[int, int] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the names of all leaves."""
        return [*(array.name for array in self.arrays), *(value.name for value in self.values)]

    def require_distinct(self) -> None:
        """Raise CannotConvert where two leaves have one name."""
        require_distinct(self.names(), self.ref)


def select(
    store: ObjectStore,
    record: CommitRecord,
    *,
    root: str | None = None,
    only: Patterns = None,
    skip: Patterns = None,
    rename: Sequence[Rename] = (),
    texts: bool = True,
) -> Selection:
    """Return the leaves of a checkpoint that are to be exported.

    Args:
        store: Where it is.
        record: Its commit.
        root: Path of the node below which names begin, such as ``model``; None is the whole tree
            but for the random generators.
        only: Glob patterns on leaf paths.
        skip: Glob patterns on leaf paths.
        rename: Rules that names go through.
        texts: Whether texts and byte strings that are stored as arrays, being long, are wanted.

    Raises:
        UsageError: Nothing is selected, or there is no such root.
    """
    ref = f"{record.run}@{record.step}"
    part = read_whole(store, record)
    tree = part.root
    tree.children = [child for child in tree.children if not str(child.key).startswith("@")]
    below = _descend(tree, root, ref)
    chosen = selector(only, skip, lambda: entries_of_tree(tree)) or (lambda path: True)
    leaves = [
        (node, renamed(name or str(below.key or "value"), rename))
        for node, name in named_leaves(below)
        if chosen(node.path)
    ]
    if not leaves:
        raise UsageError(
            f"root={root!r}, only={only!r}, skip={skip!r} leave nothing of {ref} to export. "
            f"'holdfast show {ref}' lists the paths.",
            ref=ref,
        )
    unwanted = {} if texts else _long_texts(leaves, part)
    kept = [(node, name) for node, name in leaves if node.path not in unwanted]
    return Selection(
        ref,
        part,
        below,
        [NamedArray(name, n.row, part.arrays[n.row]) for n, name in kept if n.row >= 0],
        [NamedValue(name, value_of(n)) for n, name in kept if n.row < 0],
        lambda path: path not in unwanted and chosen(path),
        rename,
        tuple(unwanted.values()),
        lambda row: _text(store, part, row, ref),
    )


def _long_texts(leaves: Iterable[tuple[Node, str]], part: Whole) -> dict[str, str]:
    """Return the names of long texts by their paths."""
    return {
        node.path: name
        for node, name in leaves
        if node.row >= 0 and part.arrays[node.row].framework in LONG_TEXTS
    }


def value_of(node: Node) -> object:
    """Return the value of a leaf that is no array; a member of an enum is its name."""
    if node.kind == NodeKind.ENUM and isinstance(node.value, bytes):
        # Its class need not be there, to be left out or told.
        return node.value.decode("utf-8", "surrogatepass")
    return plain_value(node)


def _text(store: ObjectStore, part: Whole, row: int, ref: str) -> str | bytes:
    array = part.arrays[row]
    into = bytearray(array.nbytes)
    read_array_bytes(store, part, row, memoryview(into), leaf="a text", ref=ref, full=True)
    if array.framework == "str":
        return into.decode("utf-8", "surrogatepass")
    return bytes(into)


def _descend(tree: Node, root: str | None, ref: str) -> Node:
    if root is None:
        return tree
    stack = [tree]
    while stack:
        node = stack.pop()
        # Of nodes with one path, a wrapper and what it wraps, the inner one has the names.
        if node.path == root and node.kind not in WRAPPERS:
            return node
        stack.extend(reversed(node.children))
    roots = ", ".join(repr(child.path) for child in tree.children)
    raise UsageError(f"{ref} has no node {root!r}; at its root are {roots}.", ref=ref, root=root)


def named_leaves(node: Node, name: str = "") -> Iterator[tuple[Node, str]]:
    """Yield the leaves below a node of some name, with their names."""
    if node.children:
        for child, below in named_children(node, name):
            yield from named_leaves(child, below)
    elif node.kind != NodeKind.OMITTED:
        yield node, name


def named_children(node: Node, name: str) -> Iterator[tuple[Node, str]]:
    """Yield the children of a node of some name with theirs: keys joined by slashes, as they are.

    What a node wraps has the name of the node.
    """
    for place, child in enumerate(node.children):
        wrapped = node.kind in WRAPPERS
        key = "" if wrapped else str(place if child.key is None else child.key)
        yield child, f"{name}/{key}" if name and key else name or key
