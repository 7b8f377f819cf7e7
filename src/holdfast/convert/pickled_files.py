"""Files that are pickles, or hold some, read by the restricted reader; joblib's and plain ones."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NoReturn, final

from holdfast import foreign
from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.savable import at_root
from holdfast.convert.selection import Selection
from holdfast.errors import CannotConvert
from holdfast.foreign import ForeignArray, ForeignTree, Unknown
from holdfast.foreign.array_files import NPY_MAGIC
from holdfast.format.zip_errors import MALFORMED_STREAM, MALFORMED_ZIP
from holdfast.format.zip_headers import HEADER_BYTES, member_header
from holdfast.security.archives import decompressed

_PICKLE_MAGIC = b"\x80"
# What files are called that are pickles, if they are nothing else.
_NAMES = (".pkl", ".pickle", ".joblib")
_MOST_NAME_BYTES = 1 << 16


def read_pickled(path: Path, unknown: Unknown = "refuse") -> Imported:
    """Return what a file or folder holds, whatever of the kinds of ``holdfast.foreign`` it is.

    Args:
        path: The file or folder.
        unknown: What to do with objects of classes that only their own code knows.

    Raises:
        ForeignRefused: It would do more than build arrays and plain values.
        ForeignDamaged: It is not whole, or of no kind that is known.
    """
    tree = foreign.read(path, unknown=unknown)
    notes = [f"{r.path or 'the root'}: {r.what} became {r.became}" for r in tree.replaced]
    notes += _overlaps(tree)
    return Imported(at_root(tree.root, notes), {"kind": tree.kind}, notes)


def _overlaps(tree: ForeignTree) -> Iterator[str]:
    """Yield a note for each storage that arrays look at which are not one and the same."""
    places: dict[int, list[tuple[int, int, str, ForeignArray]]] = {}
    for path, array in tree.arrays():
        if len(array.boxes) == 1 and array.nbytes:
            view = array.boxes[0].view
            end = view.offset + view.span_elems() * array.itemsize
            places.setdefault(view.storage, []).append((view.offset, end, path, array))
    for found in places.values():
        found.sort(key=lambda place: place[:3])
        for first, second in pairwise(found):
            if second[0] < first[1] and first[3].identity != second[3].identity:
                yield f"{first[2]} and {second[2]} are views of one storage; each has its own now"
                break


def begins_with(path: Path, nbytes: int) -> bytes:
    """Return the first bytes of a file; none where it cannot be read."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(nbytes)
    return b""


def members_of(path: Path) -> Sequence[str]:
    """Return the names in a zip archive, of one that is cut short the first; else none."""
    head = begins_with(path, HEADER_BYTES + _MOST_NAME_BYTES)
    first = member_header(head)
    if first is None:
        return ()
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, *MALFORMED_ZIP):
        return [head[HEADER_BYTES:][: first.name_bytes].decode("utf-8", "replace")]


@final
class Pickled:
    """The format ``pickle``: joblib's files and plain pickles. It is only read."""

    name = "pickle"
    holds_values = True
    options: Sequence[str] = ()
    members: Sequence[str] = ()

    def recognises(self, path: Path) -> bool:
        if begins_with(path, 1) == _PICKLE_MAGIC:
            return True
        with suppress(OSError, *MALFORMED_STREAM), open(path, "rb") as file:
            opened = decompressed(file, file.read(16))
            if opened is not None and opened[1].read(6).startswith((_PICKLE_MAGIC, NPY_MAGIC)):
                return True
        # Those of the first two protocols begin with anything: what one would do is to be said.
        return path.suffix.lower() in _NAMES and begins_with(path, 1) != b""

    def read(self, path: Path) -> Imported:
        return read_pickled(path)

    def read_unknown(self, path: Path, unknown: Unknown) -> Imported:
        return read_pickled(path, unknown)

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        _refuse(selection)


def _refuse(selection: Selection) -> NoReturn:
    raise CannotConvert(
        f"{selection.ref} is not written as a pickle, which is a program for whoever loads it. "
        "Nothing was written. --format torch holds the same values and is loaded safely."
    )
