"""The opcodes of a pickle, read from a file without making room for what is only announced.

Long byte strings are not read: what stands for one is the place where it is, so that a pickle of
large arrays costs no memory.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

# Byte strings of this length and more stay in the file.
BULK_BYTES = 1 << 16
# Where Python writes texts as lines, none of a checkpoint is as long.
_LINE_BYTES = 64 << 20
# No file system takes much larger files, nor lets them be sought further.
MOST_BYTES = 1 << 42
_READ_BYTES = 1 << 20
# Opcodes of byte strings: how many bytes their length takes.
_BULKY = {b"B": 4, b"\x8e": 8, b"\x96": 8}
_BY_CODE = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


@dataclass(frozen=True, slots=True)
class Bulk:
    """A long byte string that was left in the file: where it begins, and how long it is."""

    position: int
    length: int

    def __repr__(self) -> str:
        return f"<{self.length} bytes>"


@dataclass(frozen=True, slots=True)
class Opcode:
    """One opcode: its name, its argument, and where it is in the file."""

    name: str
    argument: object
    position: int


def opcodes(file: BinaryIO) -> Iterator[Opcode]:
    """Yield the opcodes from where the file is.

    Raises:
        ValueError: What follows is no opcode, or its argument is cut short.
    """
    careful, frame_end = _Careful(file), None
    while code := file.read(1):
        position = file.tell() - 1
        found = _BY_CODE.get(code)
        if found is None:
            raise ValueError(f"byte {position} is no opcode")
        argument: object = None
        if code in _BULKY:
            argument = _byte_string(file, careful, _BULKY[code])
        elif found.arg is not None:
            # The readers of pickletools are pure: they take bytes and give a number or a text.
            reader = cast("Callable[[_Careful], object]", found.arg.reader)
            argument = reader(careful)
        if frame_end is not None and file.tell() > frame_end > position:
            # Python takes a frame for a buffer of its own, and would read something else.
            raise ValueError(f"the opcode at byte {position} goes beyond its frame")
        if found.name == "FRAME":
            frame_end = file.tell() + cast(int, argument)
        yield Opcode(found.name, argument, position)


def _byte_string(file: BinaryIO, careful: _Careful, width: int) -> object:
    length = int.from_bytes(careful.exactly(width), "little")
    if length < BULK_BYTES:
        return careful.exactly(length)
    begin = file.tell()
    if length <= MOST_BYTES:
        file.seek(begin + length - 1)
    if file.tell() != begin + length - 1 or not file.read(1):
        raise ValueError(f"{length} bytes are announced that are not there")
    return Bulk(begin, length)


class _Careful:
    """A file that does not make room for what is only announced."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, nbytes: int) -> bytes:
        if nbytes <= _READ_BYTES:
            return self._file.read(nbytes)
        pieces = []
        while nbytes > 0 and (piece := self._file.read(min(nbytes, _READ_BYTES))):
            pieces.append(piece)
            nbytes -= len(piece)
        return b"".join(pieces)

    def readline(self) -> bytes:
        return self._file.readline(_LINE_BYTES)

    def exactly(self, nbytes: int) -> bytes:
        data = self.read(nbytes)
        if len(data) != nbytes:
            raise ValueError(f"{nbytes} bytes are announced that are not there")
        return data
