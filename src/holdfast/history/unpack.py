"""One checkpoint as plain files, for commands that know nothing of holdfast.

``arrays.npz`` has the arrays by path, as NumPy reads them: bfloat16, float8 and complex32, which
NumPy does not know, are widened to float32 and complex64, exactly. ``checkpoint.json`` has what the
checkpoint is, and the plain values by path.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import numpy as np

from holdfast.chunks.array_bytes import read_array_bytes
from holdfast.format import dtypes
from holdfast.format.commit import CommitRecord
from holdfast.history.diff.widen import Bytes, widen
from holdfast.history.leaves import whole_leaves
from holdfast.records.whole import Whole, read_whole
from holdfast.store.contract import ObjectStore

_WIDENED = {"bfloat16": np.float32, "complex32": np.complex64}


def unpack(store: ObjectStore, record: CommitRecord, folder: Path) -> None:
    """Write a checkpoint into a folder that is there; one array is in memory at a time.

    Raises:
        DataError: It is damaged; the message names the leaf.
    """
    whole = read_whole(store, record)
    ref = f"{record.run}@{record.step}"
    values: dict[str, object] = {}
    with zipfile.ZipFile(folder / "arrays.npz", "w", allowZip64=True) as archive:
        for leaf, row in whole_leaves(whole):
            if row < 0:
                values[leaf.path] = _plain(leaf.value)
                continue
            array = _array(store, whole, row, leaf.path, ref)
            with archive.open(f"{leaf.path}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    facts = {
        "ref": ref,
        "run": record.run,
        "step": record.step,
        "id": record.id,
        "metrics": {name: _plain(value) for name, value in record.metrics.items()},
        "values": values,
    }
    (folder / "checkpoint.json").write_text(json.dumps(facts, indent=2))


def _array(
    store: ObjectStore, whole: Whole, row: int, path: str, ref: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    spec = whole.arrays[row]
    raw: Bytes = np.empty(spec.nbytes, np.uint8)
    read_array_bytes(store, whole, row, raw.data, leaf=path, ref=ref)
    if spec.dtype in _WIDENED or spec.dtype.startswith("float8"):
        kind = _WIDENED.get(spec.dtype, np.float32)
        return widen(raw, spec.dtype).astype(kind).reshape(spec.shape)
    return raw.view(dtypes.to_numpy(spec.dtype)).reshape(spec.shape)


def _plain(value: object) -> object:
    """Return a value that JSON has a word for; else its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
