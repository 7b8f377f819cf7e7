"""Weights files of Keras planned: from a tree of their own names, or from the state of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from holdfast.convert.containers import Contained, contained, in_order
from holdfast.convert.contract import FilePlan
from holdfast.convert.hdf5.writing import Stored, lay_out, stored
from holdfast.convert.keras.names import (
    BRANCHES,
    as_weights,
    groups_of,
    is_state_tree,
    require_weights,
)
from holdfast.convert.selection import NamedArray, NamedValue, Selection
from holdfast.errors import CannotConvert


def plan_weights(selection: Selection) -> FilePlan:
    """Return the weights file that a selection becomes, whose names are those of one.

    Raises:
        CannotConvert: A name or a dtype has no place in such files.
    """
    require_weights(selection.arrays)
    return lay_out(contained(selection), how=_stored)


def plan_like(selection: Selection, tree: Mapping[str, Any]) -> FilePlan:
    """Return the weights file that the state of a model becomes.

    Args:
        selection: The state, as ``get_state_tree()`` gives it.
        tree: What was read of a weights file, or of a saved model, of the same model.

    Raises:
        CannotConvert: It is no such state, or of another model.
    """
    # A branch with nothing in it is a leaf.
    leaves = [leaf for leaf in in_order(selection) if leaf.name not in BRANCHES]
    if not is_state_tree(leaves):
        raise CannotConvert(
            f"With like= the state of a model is wanted, as get_state_tree() gives it; "
            f"{leaves[0].name!r} is not in one. Nothing was written. Give --root; "
            "a model that was saved as it is has other names: load it into the model, and call "
            "its save_weights().",
            name=leaves[0].name,
        )
    named = as_weights(leaves, list(groups_of(tree.get("weights", tree))))
    arrays = [leaf for leaf in named if isinstance(leaf, NamedArray)]
    numbers = [leaf for leaf in named if isinstance(leaf, NamedValue)]
    return lay_out(Contained(arrays, [], {}), how=_stored, numbers=numbers)


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
