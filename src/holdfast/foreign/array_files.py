"""NumPy's files of one array and of several, joblib's, and plain pickles."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import BinaryIO

from holdfast.foreign.numpy_rules import stored_array
from holdfast.foreign.session import Session
from holdfast.foreign.sources import FileRange, Source
from holdfast.foreign.tree import ForeignTree
from holdfast.foreign.zip_members import Member
from holdfast.security.array_headers import read_header

NPY_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"


def is_npz(members: Mapping[str, Member]) -> bool:
    """Say whether an archive is one of NumPy's."""
    return bool(members) and all(name.endswith(_SUFFIX) for name in members)


def read_npz(session: Session, members: Mapping[str, Member]) -> ForeignTree:
    """Return the arrays of an archive by name."""
    return session.tree(
        "NumPy, several arrays",
        {name.removesuffix(_SUFFIX): _member(session, member) for name, member in members.items()},
    )


def _member(session: Session, member: Member) -> object:
    with member.open() as file:
        return read_array(session, file, member)


def read_array(session: Session, file: BinaryIO, source: Source) -> object:
    """Return the array that a file in NumPy's format holds."""
    try:
        shape, is_fortran, dtype = read_header(file)
    except ValueError as error:
        raise session.damaged(f"it is no array file: {error}.") from error
    if dtype.hasobject:
        return session.build(session.follow(file), source)
    begin, nbytes = file.tell(), prod(shape) * dtype.itemsize
    if isinstance(source, FileRange) and nbytes > source.nbytes - begin:
        raise session.damaged(f"its array of {nbytes} bytes is cut short.")
    builder = session.builder(source)
    return stored_array(builder, source, begin, dtype, shape, fortran=is_fortran)


def read_pickle(session: Session, file: BinaryIO, source: Source, kind: str) -> ForeignTree:
    """Return the tree of a plain pickle, such as joblib writes."""
    return session.tree(kind, session.build(session.follow(file), source))
