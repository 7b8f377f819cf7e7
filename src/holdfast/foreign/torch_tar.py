"""PyTorch's files before 0.1.10: a tar archive of storages, tensors, and a pickle of the rest."""

from __future__ import annotations

import struct
import tarfile
from dataclasses import replace
from typing import BinaryIO

from holdfast.foreign.arguments import as_int
from holdfast.foreign.arrays import ForeignArray, boxed_array
from holdfast.foreign.build import Builder
from holdfast.foreign.layout import Box, View
from holdfast.foreign.session import Session
from holdfast.foreign.sources import FileRange
from holdfast.foreign.storages import Storage
from holdfast.foreign.torch_legacy import is_little_endian
from holdfast.foreign.torch_rules import storage_dtype
from holdfast.foreign.tree import ForeignTree
from holdfast.format import dtypes
from holdfast.security.numpy_types import array_shape

_MEMBERS = frozenset({"sys_info", "storages", "tensors", "pickle"})


def read_torch_tar(session: Session) -> ForeignTree:
    """Return the tree of such a file."""
    members = _members(session)
    with members["sys_info"].open() as file:
        is_big_endian = not is_little_endian(session.follow(file))
    try:
        with members["storages"].open() as file:
            storages = _storages(session, file, members["storages"], is_big_endian)
        with members["tensors"].open() as file:
            tensors = _tensors(session, file, storages)
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise session.damaged(f"its tensors make no sense: {error}.") from error
    with members["pickle"].open() as file:
        program = session.follow(file)
    root = session.build(program, members["pickle"], _Loader(tensors))
    return session.tree("PyTorch, tar", root)


def _members(session: Session) -> dict[str, FileRange]:
    found: dict[str, FileRange] = {}
    try:
        with tarfile.open(session.path, "r:") as archive:
            for member in archive:
                if member.name in found or member.name not in _MEMBERS:
                    raise session.damaged(f"it has a member {member.name[:80]!r} too many.")
                # A link would lead elsewhere; of a sparse file the bytes are not in one piece.
                if not member.isreg() or member.issparse():
                    raise session.refused(f"its member {member.name!r} is no plain file.")
                end = member.offset_data + member.size
                if end > session.size:
                    raise session.damaged("it is cut short.")
                found[member.name] = FileRange(session.path, member.offset_data, end)
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise session.damaged(f"it is no whole tar archive ({error}).") from error
    if found.keys() != _MEMBERS:
        raise session.damaged("it is a tar archive, but none of PyTorch's.")
    return found


def _storages(
    session: Session, file: BinaryIO, source: FileRange, is_big_endian: bool
) -> dict[str, Storage]:
    found: dict[str, Storage] = {}
    for _ in range(_count(session, file)):
        key, _, kind = _tuple(session.follow(file).result, 3)
        dtype = storage_dtype(kind)
        count = int.from_bytes(file.read(8), "little", signed=True)
        begin, nbytes = file.tell(), count * dtypes.itemsize(dtype or "uint8")
        if not 0 <= nbytes <= source.nbytes - begin:
            raise ValueError("a storage ends behind the file")
        file.seek(begin + nbytes)
        found[str(key)] = Storage(
            source, begin, nbytes, session.account.new_storage(), dtype, is_big_endian
        )
    views = session.follow(file).result
    for item in views if isinstance(views, list) else ():
        view = _tuple(item, 4)
        whole = found[str(view[1])]
        found[str(view[0])] = _part_of(whole, as_int(view[2]), as_int(view[3]))
    return found


def _part_of(whole: Storage, first: int, count: int) -> Storage:
    width = dtypes.itemsize(whole.dtype or "uint8")
    if first < 0 or count < 0 or (first + count) * width > whole.nbytes:
        raise ValueError("a part of a storage that is outside of it")
    return replace(whole, offset=whole.offset + first * width, nbytes=count * width)


def _tensors(
    session: Session, file: BinaryIO, storages: dict[str, Storage]
) -> dict[str, ForeignArray]:
    found: dict[str, ForeignArray] = {}
    for _ in range(_count(session, file)):
        key, storage_key, _ = _tuple(session.follow(file).result, 3)
        ndim = int.from_bytes(file.read(4), "little", signed=True)
        if not 0 <= ndim <= 64:
            raise ValueError("a tensor of that many dimensions")
        numbers = struct.unpack(f"<{2 * ndim + 1}q", file.read(4 + 16 * ndim + 8)[4:])
        shape, strides = array_shape(numbers[:ndim]), array_shape(numbers[ndim:-1])
        found[str(key)] = _tensor(storages[str(storage_key)], shape, strides, numbers[-1])
    return found


def _tensor(
    storage: Storage, shape: tuple[int, ...], strides: tuple[int, ...], first: int
) -> ForeignArray:
    name = storage.dtype or "uint8"
    begin = first * dtypes.itemsize(name)
    view = View(
        storage.source, storage.offset + begin, shape, strides, storage.number, storage.big_endian
    )
    if first < 0 or begin + view.span_elems() * dtypes.itemsize(name) > storage.nbytes:
        raise ValueError("a tensor reaches behind its storage")
    return boxed_array(name, shape, (Box((0,) * len(shape), view),), "torch")


def _count(session: Session, file: BinaryIO) -> int:
    return as_int(session.follow(file).result)


def _tuple(value: object, length: int) -> tuple[object, ...]:
    if not isinstance(value, tuple) or len(value) != length:
        raise ValueError("a record of another form")
    return value


class _Loader:
    def __init__(self, tensors: dict[str, ForeignArray]) -> None:
        self._tensors = tensors

    def storage(self, key: object) -> Storage:
        """Refuse it: tensors are made already."""
        raise ValueError("a tensor is made of a storage again")

    def value(self, builder: Builder, key: object) -> object:
        """Return the tensor of a persistent id."""
        if isinstance(key, tuple):
            builder.refuse("a whole module is there, which only its own code can make")
        if str(key) not in self._tensors:
            builder.damaged(f"there is no tensor {str(key)[:80]!r}")
        return builder.array(self._tensors[str(key)])
