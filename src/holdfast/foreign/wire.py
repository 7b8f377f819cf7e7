"""A foreign tree as JSON and back, to come from the process that followed the file.

Containers and what JSON has no word for are lists that begin with a tag. Only values of the types
here can come back, whatever the other process has become.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from holdfast.foreign.arrays import ForeignArray, boxed_array
from holdfast.foreign.build import Replaced
from holdfast.foreign.layout import Box, View
from holdfast.foreign.sources import FileRange, InMemory, Packed, Source
from holdfast.foreign.tree import ForeignTree
from holdfast.format import dtypes

_SMALL_INT_BITS = 63


def encode(tree: ForeignTree) -> bytes:
    """Return a tree as JSON."""
    encoder = _Encoder()
    root = encoder.value(tree.root)
    return json.dumps(
        {
            "path": tree.path,
            "kind": tree.kind,
            "root": root,
            "replaced": [[item.path, item.what, item.became] for item in tree.replaced],
            "arrays": encoder.arrays,
            "sources": encoder.sources,
        }
    ).encode()


def decode(data: bytes) -> ForeignTree:
    """Return the tree of ``encode``."""
    found = json.loads(data)
    sources = [_source(item) for item in found["sources"]]
    arrays = [_array(item, sources) for item in found["arrays"]]
    replaced = tuple(Replaced(*map(str, item)) for item in found["replaced"])
    return ForeignTree(found["path"], found["kind"], _value(found["root"], arrays), replaced)


class _Encoder:
    def __init__(self) -> None:
        self.arrays: list[object] = []
        self.sources: list[object] = []
        self._array_at: dict[int, int] = {}
        self._source_at: dict[int, int] = {}

    def value(self, value: object) -> object:
        kind = type(value)
        if value is None or kind in (bool, float, str):
            return value
        if isinstance(value, ForeignArray):
            return ["array", self._array(value)]
        if isinstance(value, np.generic):
            # Also those that derive from Python's own numbers and texts.
            name = dtypes.from_numpy(value.dtype) or value.dtype.str
            return ["scalar", name, _text_of(np.asarray(value).tobytes())]
        if isinstance(value, int):
            return value if value.bit_length() <= _SMALL_INT_BITS else ["int", hex(value)]
        if isinstance(value, dict):
            tag = "ordered" if isinstance(value, OrderedDict) else "dict"
            return [tag, *(self.value(item) for pair in value.items() for item in pair)]
        for container in (list, tuple, set, frozenset):
            if isinstance(value, container):
                return [container.__name__, *map(self.value, value)]
        tag, parts = _OTHERS_OUT[kind](value)
        return [tag, *map(self.value, parts)]

    def _array(self, array: ForeignArray) -> int:
        if id(array) not in self._array_at:
            boxes = [[list(box.at), self._view(box.view)] for box in array.boxes]
            self.arrays.append([array.dtype, list(array.shape), boxes, array.framework])
            self._array_at[id(array)] = len(self.arrays) - 1
        return self._array_at[id(array)]

    def _view(self, view: View) -> object:
        source = self._source(view.source)
        strides = list(view.strides)
        return [source, view.offset, list(view.shape), strides, view.storage, view.big_endian]

    def _source(self, source: Source) -> int:
        if id(source) not in self._source_at:
            self.sources.append(_described(source))
            self._source_at[id(source)] = len(self.sources) - 1
        return self._source_at[id(source)]


def _described(source: Source) -> object:
    match source:
        case FileRange(path, begin, end):
            return ["file", path, begin, end]
        case Packed():
            inner = source.range
            place = [inner.path, inner.begin, inner.end]
            return ["packed", *place, source.packing, source.most_bytes]
        case InMemory(data):
            return ["memory", _text_of(data)]
    raise TypeError(f"{type(source).__name__} cannot be told")


def _source(item: list[Any]) -> Source:
    tag, *rest = item
    if tag == "file":
        return FileRange(*rest)
    if tag == "packed":
        path, begin, end, packing, most_bytes = rest
        return Packed(FileRange(path, begin, end), packing, most_bytes)
    return InMemory(base64.b64decode(rest[0]))


def _array(item: list[Any], sources: list[Source]) -> ForeignArray:
    dtype, shape, boxes, framework = item
    return boxed_array(
        dtype,
        tuple(shape),
        tuple(Box(tuple(at), _view(view, sources)) for at, view in boxes),
        framework,
    )


def _view(item: list[Any], sources: list[Source]) -> View:
    source, offset, shape, strides, storage, is_big_endian = item
    return View(sources[source], offset, tuple(shape), tuple(strides), storage, is_big_endian)


def _value(value: Any, arrays: list[ForeignArray]) -> Any:
    if not isinstance(value, list):
        return value
    tag, *rest = value
    if tag == "array":
        return arrays[rest[0]]
    if tag == "scalar":
        data = base64.b64decode(rest[1])
        dtype = dtypes.to_numpy(rest[0])
        return np.frombuffer(data, dtype)[0] if data else np.zeros((), dtype)[()]
    if tag == "int":
        return int(rest[0], 16)
    parts = [_value(item, arrays) for item in rest]
    return _BACK[tag](parts)


def _text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- what JSON has no word for ---

_Parts = list[Any]


def _datetime_out(value: dt.datetime) -> _Parts:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, value.tzinfo]


def _time_out(value: dt.time) -> _Parts:
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, value.tzinfo]


def _timezone_out(value: dt.timezone) -> _Parts:
    return [value.utcoffset(None), value.tzname(None)]


def _timezone_back(parts: _Parts) -> dt.timezone:
    plain = dt.timezone(parts[0])
    return plain if plain.tzname(None) == parts[1] else dt.timezone(*parts)


_OTHERS_OUT: dict[type, Callable[[Any], tuple[str, _Parts]]] = {
    bytes: lambda v: ("bytes", [_text_of(v)]),
    complex: lambda v: ("complex", [v.real, v.imag]),
    range: lambda v: ("range", [v.start, v.stop, v.step]),
    slice: lambda v: ("slice", [v.start, v.stop, v.step]),
    Decimal: lambda v: ("decimal", [str(v)]),
    Fraction: lambda v: ("fraction", [v.numerator, v.denominator]),
    UUID: lambda v: ("uuid", [v.int]),
    dt.datetime: lambda v: ("datetime", _datetime_out(v)),
    dt.time: lambda v: ("time", _time_out(v)),
    dt.date: lambda v: ("date", [v.isoformat()]),
    dt.timedelta: lambda v: ("timedelta", [v.days, v.seconds, v.microseconds]),
    dt.timezone: lambda v: ("timezone", _timezone_out(v)),
    ZoneInfo: lambda v: ("zone", [v.key]),
    PurePosixPath: lambda v: ("posix path", [str(v)]),
    PureWindowsPath: lambda v: ("windows path", [str(v)]),
}
_BACK: dict[str, Callable[[_Parts], object]] = {
    "dict": lambda p: dict(zip(p[::2], p[1::2], strict=True)),
    "ordered": lambda p: OrderedDict(zip(p[::2], p[1::2], strict=True)),
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": lambda p: base64.b64decode(p[0]),
    "complex": lambda p: complex(*p),
    "range": lambda p: range(*p),
    "slice": lambda p: slice(*p),
    "decimal": lambda p: Decimal(p[0]),
    "fraction": lambda p: Fraction(*p),
    "uuid": lambda p: UUID(int=p[0]),
    "datetime": lambda p: dt.datetime.fromisoformat(p[0]).replace(fold=p[1], tzinfo=p[2]),
    "time": lambda p: dt.time.fromisoformat(p[0]).replace(fold=p[1], tzinfo=p[2]),
    "date": lambda p: dt.date.fromisoformat(p[0]),
    "timedelta": lambda p: dt.timedelta(*p),
    "timezone": _timezone_back,
    "zone": lambda p: ZoneInfo(p[0]),
    "posix path": lambda p: PurePosixPath(p[0]),
    "windows path": lambda p: PureWindowsPath(p[0]),
}
