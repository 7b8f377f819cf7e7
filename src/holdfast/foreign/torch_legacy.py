"""PyTorch's files before 1.6: five pickles behind one another, then the storages' bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from holdfast.foreign.arguments import as_int, as_text
from holdfast.foreign.build import Builder
from holdfast.foreign.session import Session
from holdfast.foreign.sources import FileRange
from holdfast.foreign.storages import Storage
from holdfast.foreign.torch_rules import persistent_storage
from holdfast.foreign.tree import ForeignTree
from holdfast.format import dtypes
from holdfast.security.pickle_machine import Items, Program

MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT_BYTES = 8


def read_torch_legacy(session: Session, file: BinaryIO) -> ForeignTree:
    """Return the tree of a file whose first pickle, the magic number, was read already."""
    source = FileRange(session.path, 0, session.size)
    if session.follow(file).result != _PROTOCOL:
        raise session.refused("it is of a version of PyTorch's format that is not known.")
    is_big_endian = not is_little_endian(session.follow(file))
    program = session.follow(file)
    keys = session.follow(file).result
    if not isinstance(keys, list):
        raise session.damaged("it does not say which storages it has.")
    loader = _Loader(_located(session, file, program, keys), source, is_big_endian)
    return session.tree("PyTorch, legacy", session.build(program, source, loader))


def is_little_endian(system: Program) -> bool:
    """Say which byte order the machine had that a file tells of."""
    pairs = system.result.pairs if isinstance(system.result, Items) else []
    return all(value is not False for key, value in pairs if key == "little_endian")


@dataclass(frozen=True, slots=True)
class _Stretch:
    number: int
    begin: int
    nbytes: int


def _located(
    session: Session, file: BinaryIO, program: Program, keys: list[object]
) -> dict[str, _Stretch]:
    """Return where each storage is: each has its number of elements, and then their bytes."""
    widths: dict[str, int] = {}
    try:
        for asked in program.asked:
            if isinstance(asked.key, tuple) and asked.key[:1] == ("module",):
                # Refused when it is built, with better words.
                continue
            dtype, name, _, _ = persistent_storage(asked.key)
            widths.setdefault(name, dtypes.itemsize(dtype or "uint8"))
        found: dict[str, _Stretch] = {}
        for key in keys:
            count = int.from_bytes(file.read(_COUNT_BYTES), "little", signed=True)
            begin = file.tell()
            stretch = _Stretch(session.account.new_storage(), begin, count * widths[as_text(key)])
            if not 0 <= stretch.nbytes <= session.size - begin:
                raise ValueError(f"the storage {str(key)[:80]!r} ends behind the file")
            file.seek(begin + stretch.nbytes)
            found[as_text(key)] = stretch
    except (ValueError, KeyError) as error:
        raise session.damaged(f"its storages make no sense: {error}.") from error
    return found


class _Loader:
    def __init__(
        self, stretches: dict[str, _Stretch], source: FileRange, is_big_endian: bool
    ) -> None:
        self._stretches, self._source, self._big_endian = stretches, source, is_big_endian

    def storage(self, key: object) -> Storage:
        """Return the storage of a persistent id, which may be a part of another one."""
        dtype, name, count, more = persistent_storage(key)
        stretch = self._stretches.get(name)
        if stretch is None:
            raise ValueError(f"the file has no storage {name[:80]!r}")
        width = dtypes.itemsize(dtype or "uint8")
        first = 0
        if more and more[0] is not None:
            if not isinstance(more[0], tuple) or len(more[0]) != 3:
                raise ValueError("a part of a storage that is none")
            first, count = as_int(more[0][1]), as_int(more[0][2])
        if first < 0 or count < 0 or (first + count) * width > stretch.nbytes:
            raise ValueError(f"the storage {name[:80]!r} is shorter than it should be")
        begin = stretch.begin + first * width
        nbytes = count * width
        return Storage(self._source, begin, nbytes, stretch.number, dtype, self._big_endian)

    def value(self, builder: Builder, key: object) -> object:
        """Refuse it: storages are only there for tensors, and modules are code."""
        is_module = isinstance(key, tuple) and key[:1] == ("module",)
        builder.refuse(
            "a whole module is there, which only its own code can make; save its state_dict()"
            if is_module
            else "it asks its loader for something that is no tensor"
        )
