"""``_METADATA`` of Orbax: the tree, leaf by leaf, with what each way to a leaf is made of.

A way is a list of keys, each of a mapping or of a sequence. Orbax makes the name of a leaf's array
from it by dots. Whether a sequence was a list or a tuple is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.convert.containers import LIST, TUPLE, rebuilt
from holdfast.errors import ForeignDamaged

FILE = "_METADATA"
SEQUENCE, MAPPING = 1, 2
ARRAY, SCALAR, TEXT = "np.ndarray", "scalar", "string"
# Values that have no array, by what Orbax calls their types.
EMPTY: Mapping[str, Callable[[], Any]] = {
    "None": lambda: None,
    "Dict": dict,
    "List": list,
    "Tuple": tuple,
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf: the way to it with the kind of each key, and the type of its value."""

    way: tuple[str, ...]
    kinds: tuple[int, ...]
    value_type: str

    @property
    def name(self) -> str:
        """The name of its array."""
        return ".".join(self.way)


@dataclass(frozen=True, slots=True)
class TreeMetadata:
    """The leaves of a checkpoint, and how their arrays are stored."""

    leaves: Sequence[Leaf]
    is_ocdbt: bool
    is_zarr3: bool
    is_complete: bool


def leaf_of(name: str, marks: Mapping[str, str], value_type: str) -> Leaf:
    """Return the leaf of one of our names, joined by slashes, with the marks of its containers."""
    parts = name.split("/")
    kinds = []
    for n in range(len(parts)):
        mark = marks.get("/".join(parts[:n]))
        kinds.append(SEQUENCE if n and mark in (LIST, TUPLE) else MAPPING)
    return Leaf(tuple(parts), tuple(kinds), value_type)


def encode(leaves: Sequence[Leaf]) -> bytes:
    """Return the file ``_METADATA``."""
    tree = {}
    for leaf in leaves:
        keys = zip(leaf.way, leaf.kinds, strict=True)
        tree[str(leaf.way)] = {
            "key_metadata": [{"key": key, "key_type": kind} for key, kind in keys],
            "value_metadata": {
                "value_type": leaf.value_type,
                "skip_deserialize": leaf.value_type in EMPTY,
            },
        }
    content = {
        "tree_metadata": tree,
        "use_ocdbt": True,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
        "custom_metadata": None,
    }
    return json.dumps(content).encode()


def decode(data: bytes, path: str) -> TreeMetadata:
    """Return what a file ``_METADATA`` says.

    Raises:
        ForeignDamaged: It makes no sense.
    """
    try:
        content = json.loads(data)
        leaves = [_leaf(entry) for entry in content["tree_metadata"].values()]
        return TreeMetadata(
            leaves,
            bool(content.get("use_ocdbt", True)),
            bool(content.get("use_zarr3", False)),
            bool(content.get("store_array_data_equal_to_fill_value", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignDamaged(
            f"{path!r} cannot be read as Orbax's description of a tree: {error!r}. Nothing was "
            "saved.",
            path=path,
        ) from error


def _leaf(entry: Any) -> Leaf:
    keys = entry["key_metadata"]
    way = tuple(str(key["key"]) for key in keys)
    kinds = tuple(int(key["key_type"]) for key in keys)
    if not way or any(not part for part in way):
        raise ValueError("a leaf has no name")
    return Leaf(way, kinds, str(entry["value_metadata"]["value_type"]))


def nested(values: Sequence[tuple[Leaf, Any]], path: str) -> dict[str, Any]:
    """Return the tree that leaves make up.

    Raises:
        ForeignDamaged: Two leaves are in one place.
    """
    tree: dict[str, Any] = {}
    sequences: set[tuple[str, ...]] = set()
    for leaf, value in values:
        at = tree
        for n, part in enumerate(leaf.way[:-1]):
            at = at.setdefault(part, {})
            if leaf.kinds[n + 1] == SEQUENCE:
                sequences.add(leaf.way[: n + 1])
            if type(at) is not dict:
                break
        if type(at) is not dict or leaf.way[-1] in at:
            raise ForeignDamaged(
                f"Two leaves of {path!r} are at {'/'.join(leaf.way)!r}. Nothing was saved.",
                path=path,
            )
        at[leaf.way[-1]] = value
    made: dict[str, Any] = _with_lists(tree, (), sequences)
    return made


def _with_lists(tree: Any, way: tuple[str, ...], sequences: set[tuple[str, ...]]) -> Any:
    if type(tree) is not dict:
        return tree
    below = {key: _with_lists(value, (*way, key), sequences) for key, value in tree.items()}
    return rebuilt(below, LIST if way in sequences else None)
