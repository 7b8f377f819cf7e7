"""What arrays of an ``.npz`` are whose bits are stored as unsigned integers."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import ForeignDamaged
from holdfast.foreign.arrays import ForeignArray
from holdfast.format import dtypes

BITS_FIELD = int.from_bytes(b"hf", "little")
_SUFFIX = ".npy"


def true_dtypes(path: Path, tree: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of a file with the dtypes that its directory tells of.

    Raises:
        ForeignDamaged: It tells something that cannot be.
    """
    told = _told(path)
    return {name: _true(path, name, value, told) for name, value in tree.items()}


def _told(path: Path) -> dict[str, str]:
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        return {
            entry.filename.removesuffix(_SUFFIX): data.decode("ascii", "replace")
            for entry in archive.infolist()
            for kind, data in _fields(entry.extra)
            if kind == BITS_FIELD
        }


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _true(path: Path, name: str, value: Any, told: dict[str, str]) -> Any:
    if name not in told:
        return value
    try:
        fits = isinstance(value, ForeignArray) and value.dtype == _bits_of(told[name])
    except ValueError:
        fits = False
    if not fits:
        raise ForeignDamaged(
            f"{str(path)!r} contradicts itself: {name!r} would be of the bits of a "
            f"{told[name][:40]!r}. Nothing was saved.",
            path=str(path),
        )
    return replace(value, dtype=told[name])


def _bits_of(dtype: str) -> str:
    if dtypes.is_plain_numpy(dtype):
        raise ValueError(f"{dtype} needs no other")
    return f"uint{8 * dtypes.itemsize(dtype)}"
