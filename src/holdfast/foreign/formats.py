"""Which format a foreign file has, told by what is in it, and its reader."""

from __future__ import annotations

import os
import stat
import tarfile
from typing import BinaryIO

from holdfast.errors import NotFound
from holdfast.foreign.array_files import NPY_MAGIC, is_npz, read_array, read_npz, read_pickle
from holdfast.foreign.build import Unknown
from holdfast.foreign.dcp import METADATA, read_dcp
from holdfast.foreign.limits import Account, Limits
from holdfast.foreign.session import Session
from holdfast.foreign.sources import BY_MAGIC, FileRange, Packed, Source, unreadable
from holdfast.foreign.torch_legacy import MAGIC, read_torch_legacy
from holdfast.foreign.torch_tar import read_torch_tar
from holdfast.foreign.torch_zip import is_torch_zip, read_torch_zip
from holdfast.foreign.tree import ForeignTree
from holdfast.foreign.zip_members import zip_members
from holdfast.format.zip_headers import MEMBER_MAGIC
from holdfast.security.archives import decompressed


def read_here(path: str, unknown: Unknown, limits: Limits) -> ForeignTree:
    """Return the tree of a foreign file or folder, read in this process.

    Raises:
        NotFound: There is none.
        ForeignRefused: It would do more than build arrays and plain values, or asks for too much.
        ForeignDamaged: It is of no format that is known, or not whole.
        StoreUnavailable: It cannot be read.
    """
    if os.path.basename(path) == METADATA:
        path = os.path.dirname(path) or "."
    try:
        return _read(path, unknown, limits)
    except OSError as error:
        raise unreadable(path, error) from error


def _read(path: str, unknown: Unknown, limits: Limits) -> ForeignTree:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path!r}. Nothing was read.", path=path) from None
    session = Session(path, unknown, Account(limits, found.st_size))
    if stat.S_ISDIR(found.st_mode):
        if not os.path.lexists(os.path.join(path, METADATA)):
            raise session.damaged(f"it is a folder, but has no {METADATA} of PyTorch's.")
        return read_dcp(session)
    if not stat.S_ISREG(found.st_mode):
        raise session.refused("it is no plain file.")
    return _read_file(session)


def _read_file(session: Session) -> ForeignTree:
    whole = FileRange(session.path, 0, session.size)
    with whole.open() as file:
        head = file.read(16)
        if head.startswith(MEMBER_MAGIC):
            return _read_zip(session, whole)
        if decompressed(file, head) is not None:
            most = session.limits.most_unpacked(session.size)
            return _read_packed(session, Packed(whole, BY_MAGIC, most))
        file.seek(0)
        if not head.startswith((b"\x80", NPY_MAGIC)) and tarfile.is_tarfile(file):
            return read_torch_tar(session)
        return _read_plain(session, whole)


def _read_zip(session: Session, whole: FileRange) -> ForeignTree:
    members = zip_members(session, whole)
    if is_torch_zip(members):
        return read_torch_zip(session, members)
    if is_npz(members):
        return read_npz(session, members)
    raise session.damaged("it is a zip archive, but neither PyTorch's nor NumPy's.")


def _read_packed(session: Session, packed: Packed) -> ForeignTree:
    with packed.open() as file:
        head = file.read(len(NPY_MAGIC))
    if head.startswith(MEMBER_MAGIC):
        raise session.refused("it is an archive in a compressed file; unpack it first.")
    return _by_head(session, packed, head, "compressed ")


def _read_plain(session: Session, whole: FileRange) -> ForeignTree:
    with whole.open() as file:
        head = file.read(len(NPY_MAGIC))
        file.seek(0)
        if head.startswith(b"\x80") and _is_legacy(session, file):
            return read_torch_legacy(session, file)
    return _by_head(session, whole, head, "")


def _is_legacy(session: Session, file: BinaryIO) -> bool:
    # The magic number is a pickle of a few bytes; longer ones need not be followed twice.
    first = file.read(32)
    if MAGIC.to_bytes(10, "little") not in first:
        return False
    file.seek(0)
    return session.follow(file).result == MAGIC


def _by_head(session: Session, source: Source, head: bytes, how: str) -> ForeignTree:
    with source.open() as file:
        if head.startswith(NPY_MAGIC):
            return session.tree(f"{how}NumPy array", read_array(session, file, source))
        return read_pickle(session, file, source, f"{how}pickle")
