"""Keras: weights files (``.weights.h5``) and saved models (``.keras``), by h5py and without Keras.

A saved model is a tree of ``config.json`` and ``metadata.json`` as texts, ``weights``, and
``assets``; a weights file is what is below ``weights``. Nothing of a configuration is ever run. See
https://keras.io/api/saving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from holdfast.convert.containers import in_order
from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.hdf5.attributes import is_holdable
from holdfast.convert.hdf5.library import h5py_library, has_signature
from holdfast.convert.hdf5.reading import Hdf5Reader
from holdfast.convert.keras.archive import plan_archive
from holdfast.convert.keras.names import VARS
from holdfast.convert.keras.shards import SUFFIX, read_shards
from holdfast.convert.keras.unpacking import CONFIG, is_archive, read_archive
from holdfast.convert.keras.weights import plan_like, plan_weights
from holdfast.convert.selection import Selection
from holdfast.errors import UsageError

_ROOTS = ("layers", VARS, "_layer_checkpoint_dependencies")


@final
class Keras:
    """The format ``keras``.

    Options for writing: ``like`` is a file of the same model, by which the variables of a model's
    state get their names.
    """

    name = "keras"
    holds_values = True
    keeps_byte_order = True
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
            return [plan_like(selection, _read_like(Path(str(like))))]
        if any(leaf.name == CONFIG for leaf in in_order(selection)):
            return [plan_archive(selection)]
        return [plan_weights(selection)]


def _read_like(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"like={str(path)!r}: there is no such file.", path=str(path))
    return Keras().read(path).tree
