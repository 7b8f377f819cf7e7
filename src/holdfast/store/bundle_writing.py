"""A store written into one file, a bundle: see ``bundle``."""

from __future__ import annotations

import os
import zipfile

from holdfast.store.contract import ObjectInfo, ObjectStore
from holdfast.store.folders import sync_folder
from holdfast.store.os_errors import translated
from holdfast.store.scratch_folder import scratch_beside

SUFFIX = ".holdfast"
_PIECE_BYTES = 4 << 20
# Bookkeeping of a folder that means nothing elsewhere.
_LEFT_OUT = ("/writer.lock", "/records.lock", "/events.jsonl")


def is_bundle_path(location: object) -> bool:
    """Say whether a location names a bundle, whether or not it is there.

    >>> is_bundle_path("out/best.holdfast"), is_bundle_path("ckpts")
    (True, False)
    """
    return isinstance(location, str | os.PathLike) and os.fspath(location).endswith(SUFFIX)


def write_bundle(objects: ObjectStore, path: str) -> None:
    """Write all objects of a store into a file, which is there whole or not at all.

    Raises:
        NoSpace, StoreUnavailable: It cannot be written; nothing is left of it.
    """
    with translated("write", path), scratch_beside(path) as scratch:
        made = os.path.join(scratch, "new")
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for info in objects.list(""):
                    if "/" in info.key or info.key.endswith(".json"):
                        _add(archive, objects, info)
            file.flush()
            os.fsync(fd)
        os.rename(made, path)
        sync_folder(os.path.dirname(path) or ".")


def _add(archive: zipfile.ZipFile, objects: ObjectStore, info: ObjectInfo) -> None:
    if info.key.endswith(_LEFT_OUT):
        return
    member = zipfile.ZipInfo(info.key)
    member.external_attr = 0o600 << 16
    member.file_size = info.size
    reader = objects.open(info.key)
    try:
        with archive.open(member, "w", force_zip64=True) as into:
            for begin in range(0, info.size, _PIECE_BYTES):
                piece = bytearray(min(_PIECE_BYTES, info.size - begin))
                reader.read(memoryview(piece), begin)
                into.write(piece)
    finally:
        reader.close()
