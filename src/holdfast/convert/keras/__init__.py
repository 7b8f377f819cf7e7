"""Keras: weights files (``.weights.h5``) and saved models (``.keras``), by h5py and without Keras.

A saved model is a tree of ``config.json`` and ``metadata.json`` as texts, ``weights``, and
``assets``; a weights file is what is below ``weights``. Nothing of a configuration is ever run. See
https://keras.io/api/saving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from holdfast.convert.containers import Contained, contained, in_order
from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.hdf5.attributes import is_holdable
from holdfast.convert.hdf5.library import h5py_library, has_signature
from holdfast.convert.hdf5.reading import Hdf5Reader
from holdfast.convert.hdf5.writing import Stored, lay_out, stored
from holdfast.convert.keras.archive import plan_archive, segments_of
from holdfast.convert.keras.names import (
    BRANCHES,
    VARS,
    as_weights,
    groups_of,
    is_state_tree,
    require_weights,
)
from holdfast.convert.keras.shards import SUFFIX, read_shards
from holdfast.convert.keras.unpacking import (
    ASSETS,
    CONFIG,
    METADATA,
    WEIGHTS,
    is_archive,
    read_archive,
)
from holdfast.convert.selection import LONG_TEXTS, NamedArray, NamedValue, Selection
from holdfast.convert.zip_plan import Array, Member, Segment
from holdfast.errors import CannotConvert, UsageError

_ROOTS = ("layers", VARS, "_layer_checkpoint_dependencies")


@final
class Keras:
    """The format ``keras``.

    Options for writing: ``like`` is a file of the same model, by which the variables of a model's
    state get their names.
    """

    name = "keras"
    holds_values = True
    options: Sequence[str] = ("like",)
    members: Sequence[str] = ()

    def holds(self, value: object) -> bool:
        return is_holdable(value)

    def recognises(self, path: Path) -> bool:
        if is_archive(path) or (path.is_file() and path.name.endswith(SUFFIX)):
            return True
        if not path.is_file() or not has_signature(path):
            return False
        if path.name.endswith(".weights.h5"):
            return True
        try:
            with h5py_library().File(path, "r") as file:
                return any(name in file for name in _ROOTS)
        except OSError:
            return False

    def read(self, path: Path) -> Imported:
        if is_archive(path):
            return Imported(read_archive(path))
        if path.name.endswith(SUFFIX):
            return Imported(read_shards(path))
        return Imported(Hdf5Reader(str(path)).read())

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        like = options.get("like")
        if like is not None:
            return [_plan_like(selection, Path(str(like)))]
        if any(leaf.name == CONFIG for leaf in in_order(selection)):
            return [_plan_archive(selection)]
        return [_plan_weights(selection)]


def _plan_like(selection: Selection, path: Path) -> FilePlan:
    if not path.is_file():
        raise UsageError(f"like={str(path)!r}: there is no such file.", path=str(path))
    # A branch with nothing in it is a leaf.
    leaves = [leaf for leaf in in_order(selection) if leaf.name not in BRANCHES]
    if not is_state_tree(leaves):
        raise CannotConvert(
            f"With like= the state of a model is wanted, as get_state_tree() gives it; "
            f"{leaves[0].name!r} is not in one. Nothing was written. Give --root.",
            name=leaves[0].name,
        )
    tree: dict[str, Any] = Keras().read(path).tree
    named = as_weights(leaves, list(groups_of(tree.get("weights", tree))))
    arrays = [leaf for leaf in named if isinstance(leaf, NamedArray)]
    numbers = [leaf for leaf in named if isinstance(leaf, NamedValue)]
    return lay_out(Contained(arrays, [], {}), how=_stored, numbers=numbers)


def _plan_weights(selection: Selection) -> FilePlan:
    require_weights(selection.arrays)
    return lay_out(contained(selection), how=_stored)


def _stored(array: NamedArray) -> Stored:
    dtype = array.array.dtype
    if dtype == "bfloat16":
        # As Keras itself does it: two opaque bytes, and the name beside.
        return Stored(np.dtype("V2"), array.array.shape, {"dtype": "bfloat16"})
    found = stored(array)
    if found.attributes:
        raise CannotConvert(
            f"{array.name!r} has the dtype {dtype}, which Keras cannot read from a weights file. "
            f"Nothing was written. To leave it out: --skip {array.name!r}.",
            name=array.name,
        )
    return found


def _plan_archive(selection: Selection) -> FilePlan:
    rows = selection.part.arrays
    texts: dict[str, Segment] = {}
    for array in selection.arrays:
        if rows[array.row].framework in LONG_TEXTS:
            texts[array.name] = Array(array.row, rows[array.row].nbytes)
    for value in selection.values:
        if isinstance(value.value, str | bytes):
            text = value.value
            texts[value.name] = text.encode() if isinstance(text, str) else text
    weights = _below(selection, "weights")
    plan = _plan_weights(weights)
    members = [Member(name, [texts[name]]) for name in (METADATA, CONFIG) if name in texts]
    members.append(Member(WEIGHTS, segments_of(plan, [row.nbytes for row in rows])))
    assets = [name for name in texts if name.startswith(ASSETS)]
    members += [Member(name, [texts[name]]) for name in sorted(assets)]
    return plan_archive(members)


def _below(selection: Selection, key: str) -> Selection:
    """Return what of a selection is below a key of its root, named from there on."""
    root = selection.root
    while len(root.children) == 1 and root.children[0].key is None:
        root = root.children[0]
    found = [child for child in root.children if child.key == key]
    prefix = f"{key}/"
    arrays = [a for a in selection.arrays if a.name.startswith(prefix)]
    values = [v for v in selection.values if v.name.startswith(prefix)]
    if not found or not arrays:
        raise CannotConvert(
            f"A saved model needs its weights below {key!r}; there are none. Nothing was written.",
            name=key,
        )
    return replace(
        selection,
        root=found[0],
        arrays=[replace(a, name=a.name.removeprefix(prefix)) for a in arrays],
        values=[replace(v, name=v.name.removeprefix(prefix)) for v in values],
    )
