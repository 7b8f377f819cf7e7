"""``.keras`` archives read: configuration as text, the weights file in its place in the archive."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.convert.hdf5.reading import Hdf5Reader
from holdfast.errors import CannotConvert, ForeignDamaged, ForeignRefused
from holdfast.foreign.limits import Limits
from holdfast.foreign.sources import FileRange
from holdfast.format.zip_errors import MALFORMED_MEMBER, MALFORMED_ZIP
from holdfast.format.zip_headers import HEADER_BYTES, member_header

CONFIG, METADATA, WEIGHTS, ASSETS = "config.json", "metadata.json", "model.weights.h5", "assets/"
# Texts and assets become values, all of them at once; models have some kilobytes of them.
_MAX_VALUE_BYTES = 1 << 28
_PIECE = 1 << 20


def is_archive(path: Path) -> bool:
    """Say whether a file is a zip that has a model's configuration in it."""
    try:
        if not path.is_file() or not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return {CONFIG, METADATA} <= set(archive.namelist())
    except (OSError, *MALFORMED_ZIP):
        return False


def read_archive(path: Path) -> dict[str, Any]:
    """Return what an archive holds; nothing of the configuration is run.

    Raises:
        ForeignDamaged: It is no whole archive.
        ForeignRefused: It can be read in two ways, or is larger than it says.
        CannotConvert: Its weights are in another format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except (OSError, *MALFORMED_MEMBER) as error:
        raise ForeignDamaged(
            f"{str(path)!r} is no whole .keras archive: {error}. Nothing was saved.", path=str(path)
        ) from error


def _read(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise ForeignRefused(
            f"Two members of {str(path)!r} have one name. Nothing was saved.", path=str(path)
        )
    if WEIGHTS not in entries:
        raise CannotConvert(
            f"{str(path)!r} has no {WEIGHTS}, but {', '.join(sorted(entries))}. Nothing was saved. "
            "Save the model with the HDF5 weights that are Keras' default.",
            path=str(path),
        )
    texts = [name for name in (METADATA, CONFIG) if name in entries]
    assets = [name for name in entries if name.startswith(ASSETS) and not name.endswith("/")]
    _require_few_bytes([entries[name] for name in (*texts, *assets)], path)
    tree: dict[str, Any] = {name: archive.read(entries[name]).decode() for name in texts}
    tree["weights"] = _weights(archive, entries[WEIGHTS], path)
    if assets:
        found = {name: archive.read(entries[name]) for name in sorted(assets)}
        tree["assets"] = {name.removeprefix(ASSETS): data for name, data in found.items()}
    return tree


def _require_few_bytes(entries: Sequence[zipfile.ZipInfo], path: Path) -> None:
    nbytes = sum(entry.file_size for entry in entries)
    if nbytes > _MAX_VALUE_BYTES:
        raise ForeignRefused(
            f"Texts and assets of {str(path)!r} would have {nbytes:,} bytes; more than "
            f"{_MAX_VALUE_BYTES:,} are not read as values. Nothing was saved.",
            path=str(path),
        )


def _weights(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Any:
    if entry.file_size > Limits().most_unpacked(entry.compress_size):
        raise ForeignRefused(
            f"{entry.filename!r} of {str(path)!r} unpacks to far more than its size, "
            f"{entry.file_size:,} bytes. Nothing was saved.",
            path=str(path),
        )
    with archive.open(entry) as member:
        if entry.compress_type != zipfile.ZIP_STORED:
            return _unpacked(member)
        # Its checksum is compared on the way to the end of it.
        while member.read(_PIECE):
            pass
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = member_header(file.read(HEADER_BYTES))
    if header is None:
        raise zipfile.BadZipFile(f"there is no member at byte {entry.header_offset}")
    begin = entry.header_offset + header.nbytes
    window = FileRange(str(path), begin, begin + entry.file_size).open()
    return Hdf5Reader(str(path), window, begin).read()


def _unpacked(member: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="holdfast-keras-") as folder:
        place = os.path.join(folder, WEIGHTS)
        with open(place, "wb") as out:
            while piece := member.read(_PIECE):
                out.write(piece)
        # Both open it; it goes when they are gone.
        return Hdf5Reader(place).read()
