"""Pickles written without Python's pickler: only what ``torch.load(weights_only=True)`` follows.

Protocol 2, by opcodes. What stands for a class or function is its name; nothing is looked up, so
that PyTorch need not be installed to write what it reads.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.errors import CannotConvert

_BATCH = 1000
# By their length, what comes before the items of a tuple and behind them.
_TUPLES = {0: (b")", b""), 1: (b"", b"\x85"), 2: (b"", b"\x86"), 3: (b"", b"\x87")}
_MOST_INT_BYTES = 255


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function, by its module and name."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Called:
    """What a function returns for arguments."""

    function: Name
    args: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """An object of a class, made without arguments and given a state."""

    cls: Name
    state: object = None


@dataclass(frozen=True, slots=True)
class Table:
    """A dict whose keys are no plain values, as pairs."""

    pairs: Sequence[tuple[object, object]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the reader is asked for: a persistent id."""

    key: tuple[object, ...]


_ORDERED = Name("collections", "OrderedDict")
_ENCODE = Name("_codecs", "encode")
_COMPLEX = Name("builtins", "complex")


def pickled(value: object, replace: Callable[[object], object] | None = None) -> bytes:
    """Return the pickle of a value.

    Args:
        value: None, bool, int, float, complex, text, bytes, list, tuple, dict, ordered dict, and
            what this module has besides.
        replace: Says what stands in the place of a value of any other type.

    Raises:
        CannotConvert: An int has more than 2,039 bits.
        TypeError: A value is of no such type, and nothing stands in its place.
    """
    writer = _Writer(replace)
    writer.put(value)
    return bytes(writer.data + b".")


class _Writer:
    def __init__(self, replace: Callable[[object], object] | None) -> None:
        self.data = bytearray(b"\x80\x02")
        self._replace = replace
        self._memo: dict[object, int] = {}

    def put(self, value: object) -> None:
        put = _PUT.get(type(value))
        if put is not None:
            put(self, value)
        elif self._replace is not None:
            self.put(self._replace(value))
        else:
            raise TypeError(f"a {type(value).__name__} has no place in a pickle")

    def known(self, key: object) -> bool:
        """Put what was put before under a key, if it was."""
        place = self._memo.get(key)
        if place is None:
            return False
        self.data += b"h" + bytes([place]) if place < 256 else b"j" + struct.pack("<I", place)
        return True

    def remember(self, key: object) -> None:
        """Note that what was put last can be had again under a key."""
        place = self._memo[key] = len(self._memo)
        self.data += b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place)

    # --- one method for each kind of value ---

    def put_none(self, value: None) -> None:
        self.data += b"N"

    def put_bool(self, value: bool) -> None:
        self.data += b"\x88" if value else b"\x89"

    def put_int(self, value: int) -> None:
        if 0 <= value < 1 << 8:
            self.data += b"K" + bytes([value])
        elif 0 <= value < 1 << 16:
            self.data += b"M" + struct.pack("<H", value)
        elif -(1 << 31) <= value < 1 << 31:
            self.data += b"J" + struct.pack("<i", value)
        else:
            self._long(value)

    def _long(self, value: int) -> None:
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        if len(data) > _MOST_INT_BYTES:
            raise CannotConvert(
                f"An int of {value.bit_length()} bits is there; PyTorch reads such of up to 2,039. "
                "Nothing was written. Leave it out with --skip."
            )
        self.data += b"\x8a" + bytes([len(data)]) + data

    def put_float(self, value: float) -> None:
        self.data += b"G" + struct.pack(">d", value)

    def put_complex(self, value: complex) -> None:
        self.put(Called(_COMPLEX, (value.real, value.imag)))

    def put_text(self, value: str) -> None:
        if self.known((str, value)):
            return
        data = value.encode("utf-8", "surrogatepass")
        if len(data) > 0xFFFFFFFF:
            raise CannotConvert("A text of more than 4 GiB is there. Nothing was written.")
        self.data += b"X" + struct.pack("<I", len(data)) + data
        if len(data) < _MOST_INT_BYTES:
            self.remember((str, value))

    def put_bytes(self, value: bytes) -> None:
        self.put(Called(_ENCODE, (value.decode("latin-1"), "latin1")))

    def put_list(self, value: Sequence[object]) -> None:
        self.data += b"]"
        for begin in range(0, len(value), _BATCH):
            self.data += b"("
            for item in value[begin : begin + _BATCH]:
                self.put(item)
            self.data += b"e"

    def put_tuple(self, value: tuple[object, ...]) -> None:
        before, after = _TUPLES.get(len(value), (b"(", b"t"))
        self.data += before
        for item in value:
            self.put(item)
        self.data += after

    def put_dict(self, value: Mapping[object, object]) -> None:
        self.data += b"}"
        self._items(list(value.items()))

    def put_ordered(self, value: Mapping[object, object]) -> None:
        self.put(Called(_ORDERED, ()))
        self._items(list(value.items()))

    def put_table(self, value: Table) -> None:
        self.data += b"}"
        self._items(value.pairs)

    def _items(self, pairs: Sequence[tuple[object, object]]) -> None:
        for begin in range(0, len(pairs), _BATCH):
            self.data += b"("
            for key, item in pairs[begin : begin + _BATCH]:
                self.put(key)
                self.put(item)
            self.data += b"u"

    def put_name(self, value: Name) -> None:
        if not self.known(value):
            self.data += f"c{value.module}\n{value.name}\n".encode()
            self.remember(value)

    def put_called(self, value: Called) -> None:
        self.put_name(value.function)
        self.put_tuple(value.args)
        self.data += b"R"

    def put_made(self, value: Made) -> None:
        self.put_name(value.cls)
        self.data += b")\x81"
        if value.state is not None:
            self.put(value.state)
            self.data += b"b"

    def put_asked(self, value: Asked) -> None:
        self.put_tuple(value.key)
        self.data += b"Q"


_PUT: dict[type, Callable[[_Writer, Any], None]] = {
    type(None): _Writer.put_none,
    bool: _Writer.put_bool,
    int: _Writer.put_int,
    float: _Writer.put_float,
    complex: _Writer.put_complex,
    str: _Writer.put_text,
    bytes: _Writer.put_bytes,
    list: _Writer.put_list,
    tuple: _Writer.put_tuple,
    dict: _Writer.put_dict,
    OrderedDict: _Writer.put_ordered,
    Name: _Writer.put_name,
    Called: _Writer.put_called,
    Made: _Writer.put_made,
    Asked: _Writer.put_asked,
    Table: _Writer.put_table,
}
