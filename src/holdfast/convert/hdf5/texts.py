"""Datasets of texts read as values: lists in lists, all of them at once, with bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from holdfast.convert.foreign_file import ForeignFile
from holdfast.convert.hdf5.attributes import from_attribute
from holdfast.convert.slabs import Slab, slabs
from holdfast.convert.text_tensors import as_lists, has_room
from holdfast.errors import CannotConvert, ForeignRefused
from holdfast.foreign.limits import Limits

_MAX_TEXTS = 1_000_000
_AT_ONCE_BYTES = 64 << 20


def read_texts(dataset: Any, path: str, file: ForeignFile) -> Any:
    """Return the texts of a dataset.

    Args:
        dataset: Of texts of variable length.
        path: Its path, for messages.
        file: The file that it is in.

    Raises:
        CannotConvert: They are too many.
        ForeignRefused: They have far more bytes than the file, or more lists than memory.
    """
    if dataset.size > _MAX_TEXTS:
        raise CannotConvert(
            f"{path!r} of {file.path!r} has {dataset.size:,} texts; more than {_MAX_TEXTS:,} are "
            "not read as values. Nothing was saved.",
            path=path,
        )
    if not has_room(dataset.shape):
        raise ForeignRefused(
            f"{path!r} of {file.path!r} has no texts, but the shape {dataset.shape}: more lists "
            "than have a place in memory. Nothing was saved.",
            path=path,
        )
    return as_lists(_counted(dataset, path, file), dataset.shape)


def _counted(dataset: Any, path: str, file: ForeignFile) -> list[Any]:
    # Many elements can be one and the same text of the file, which is in memory for each: a few at
    # a time, until it is too much.
    most = Limits().most_unpacked(file.size)
    values: list[Any] = []
    nbytes, at_once = 0, max(1, min(4096, _AT_ONCE_BYTES // max(1, file.size)))
    for slab in _slabs_of(dataset.shape, at_once):
        found = np.asarray(dataset[slab], dtype=object).reshape(-1)
        nbytes += sum(len(text) for text in found)
        if nbytes > most:
            raise ForeignRefused(
                f"The texts of {path!r} of {file.path!r} have more than {most:,} bytes, and the "
                f"file {file.size:,}. Nothing was saved.",
                path=path,
            )
        values += from_attribute(found)
    return values


def _slabs_of(shape: Sequence[int], n_elements: int) -> Iterator[Slab]:
    """Yield slabs of so many elements at most, in C order."""
    total = prod(shape)
    for begin in range(0, total, n_elements):
        yield from slabs(shape, begin, min(total, begin + n_elements))
