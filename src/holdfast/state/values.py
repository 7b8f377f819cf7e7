"""Plain values to bytes and back: what a node of the tree holds besides containers and arrays."""

from __future__ import annotations

import datetime as dt
import re
import reprlib
import sys
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from holdfast.errors import MissingDependency, UnknownType, UnsupportedLeaf
from holdfast.format import dtypes
from holdfast.format.tree import KeyKind, NodeKind

# NumPy is imported where it is used: manifests are read without, and it takes long.
if TYPE_CHECKING:
    import numpy as np

# Python refuses to write or read longer ones as text.
_MAX_KEY_BITS = 4096
_MAX_KEY_DIGITS = 1 + len(str(2**_MAX_KEY_BITS))
_INT_KEY = re.compile(rb"0|-?[1-9][0-9]*")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*\]")
_TEXTS = frozenset({NodeKind.STR, NodeKind.PATH, NodeKind.ENUM})
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def encode_big_int(value: int) -> bytes:
    """Return an int of any size in two's complement, little-endian."""
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def encode_datetime(value: dt.datetime) -> bytes:
    """Return ISO 8601, followed by ``[zone]`` for a named zone and ``~`` for a second fold."""
    zone = value.tzinfo
    if zone is not None and not isinstance(zone, dt.timezone | ZoneInfo):
        raise ValueError(f"its time zone is a {type(zone).__name__}")
    if isinstance(zone, ZoneInfo) and zone.key is None:
        raise ValueError("its time zone has no name")
    suffix = f"[{zone.key}]" if isinstance(zone, ZoneInfo) else ""
    return (value.isoformat() + suffix + ("~" if value.fold else "")).encode()


def decode_datetime(blob: bytes, path: str) -> dt.datetime:
    """Return the datetime of ``encode_datetime``.

    Raises:
        MissingDependency: Its time zone is not in the data base of this machine.
    """
    value, zone, fold = _parse_datetime(blob)
    if zone:
        try:
            value = value.replace(tzinfo=ZoneInfo(zone))
        except ZoneInfoNotFoundError as error:
            raise MissingDependency(
                f"{path!r} is a time in the zone {zone!r}, which this machine does not know: "
                "pip install tzdata.",
                path=path,
                package="tzdata",
            ) from error
    return value.replace(fold=fold)


def _parse_datetime(blob: bytes) -> tuple[dt.datetime, str, int]:
    """Return a datetime without its named zone, the zone's name, and the fold."""
    text = blob.decode()
    fold = text.endswith("~")
    text, bracket, zone = text.removesuffix("~").partition("[")
    value = dt.datetime.fromisoformat(text)
    if value.isoformat() != text or (bracket and not _ZONE.fullmatch(zone)):
        raise ValueError("a time is not written as it should be")
    return value, zone.removesuffix("]"), int(fold)


def encode_scalar(value: np.generic, path: str) -> bytes:
    """Return a NumPy scalar as the name of its dtype, a NUL, and its bytes."""
    import numpy as np

    # Arrays drop zeros at the end of texts, and know none of length 0; scalars do not.
    if isinstance(value, np.str_):
        return b"str\0" + "".join(value).encode("utf-8", "surrogatepass")
    if isinstance(value, np.bytes_):
        return b"bytes\0" + b"".join([value])
    name = dtypes.from_numpy(value.dtype)
    if name is None:
        raise UnsupportedLeaf(
            f"{path!r} is a NumPy scalar of {value.dtype}, which the format cannot hold.", path=path
        )
    return name.encode() + b"\0" + value.tobytes()


def decode_scalar(blob: bytes) -> np.generic:
    """Return the NumPy scalar of ``encode_scalar``."""
    import numpy as np

    name, _, data = blob.partition(b"\0")
    if name == b"str":
        return np.str_(data.decode("utf-8", "surrogatepass"))
    if name == b"bytes":
        return np.bytes_(data)
    dtype = dtypes.to_numpy(name.decode())
    if len(data) != dtype.itemsize:
        raise ValueError(f"{len(data)} bytes are no {dtype}")
    return np.frombuffer(data, dtype, count=1)[0]  # type: ignore[no-any-return]


def encode_key(key: object, path: str) -> tuple[KeyKind, bytes]:
    """Return kind and bytes of a mapping's key, or raise UnsupportedLeaf."""
    kind = type(key)
    if isinstance(key, str) and kind is str:
        return KeyKind.STR, key.encode("utf-8", "surrogatepass")
    if isinstance(key, int) and kind is int and key.bit_length() <= _MAX_KEY_BITS:
        return KeyKind.INT, str(key).encode()
    if kind is bool:
        return KeyKind.BOOL, b"1" if key else b"0"
    if key is None:
        return KeyKind.NONE, b""
    if isinstance(key, float) and kind is float:
        return KeyKind.FLOAT, key.hex().encode()
    shown = f"of {key.bit_length()} bits" if isinstance(key, int) else reprlib.repr(key)
    raise UnsupportedLeaf(
        f"A mapping at {path or 'the root'!r} has the key {shown} of type "
        f"{kind.__name__}; keys may be str, int (of up to 4,096 bits), float, bool and None. "
        "Turn the mapping into a list of pairs.",
        path=path,
    )


def decode_key(kind: int, data: bytes) -> str | int | bool | float | None:
    """Return the key of ``encode_key``.

    Raises:
        ValueError: No such key.
    """
    if kind == KeyKind.STR:
        return data.decode("utf-8", "surrogatepass")
    if kind == KeyKind.INT:
        return _decode_int_key(data)
    if kind == KeyKind.BOOL:
        return {b"0": False, b"1": True}[data]
    if kind == KeyKind.NONE and not data:
        return None
    if kind == KeyKind.FLOAT:
        return _decode_float_key(data)
    raise ValueError(f"unknown kind of key {kind}")


def _decode_int_key(data: bytes) -> int:
    if len(data) > _MAX_KEY_DIGITS or _INT_KEY.fullmatch(data) is None:
        raise ValueError("no integer key")
    value = int(data)
    if value.bit_length() > _MAX_KEY_BITS:
        raise ValueError("an integer key is too large")
    return value


def _decode_float_key(data: bytes) -> float:
    value = float.fromhex(data.decode())
    if value.hex().encode() != data:
        raise ValueError("a float key is not written as it should be")
    return value


def check_blob(kind: NodeKind, blob: bytes) -> None:
    """Raise ValueError where a blob cannot be what its kind says; no value is made of it."""
    if kind in _TEXTS:
        blob.decode("utf-8", "surrogatepass")
    elif kind == NodeKind.DATETIME:
        _parse_datetime(blob)
    elif kind == NodeKind.SCALAR:
        name, separator, data = blob.partition(b"\0")
        if name == b"str":
            data.decode("utf-8", "surrogatepass")
        elif not separator or (name != b"bytes" and len(data) != dtypes.itemsize(name.decode())):
            raise ValueError("a scalar is no element of its type")


def decode_blob(kind: NodeKind, blob: bytes, type_name: str, path: str) -> Any:
    """Return the plain value of a node that has a blob."""
    if kind == NodeKind.BIG_INT:
        return int.from_bytes(blob, "little", signed=True)
    if kind == NodeKind.STR:
        return blob.decode("utf-8", "surrogatepass")
    if kind == NodeKind.DATETIME:
        return decode_datetime(blob, path)
    if kind == NodeKind.PATH:
        return Path(blob.decode("utf-8", "surrogatepass"))
    if kind == NodeKind.SCALAR:
        return decode_scalar(blob)
    if kind == NodeKind.ENUM:
        return member_of(known_class(type_name, Enum, path), blob, path)
    return blob


def member_of(cls: type, name: object, path: str) -> Any:
    """Return the member of an enum that has a saved name.

    Raises:
        UnknownType: It has none of that name any more.
    """
    text = name.decode("utf-8", "surrogatepass") if isinstance(name, bytes) else str(name)
    members: Any = getattr(cls, "__members__", {})
    if text not in members:
        raise UnknownType(
            f"{path!r} was saved as {cls.__qualname__}.{text}, but {cls.__qualname__} has no such "
            f"member here: {', '.join(members)}. Leave it out with skip={path!r}.",
            path=path,
            type_name=type_name(cls),
        )
    return members[text]


NUMBERS = frozenset(
    {
        NodeKind.TRUE,
        NodeKind.FALSE,
        NodeKind.INT,
        NodeKind.BIG_INT,
        NodeKind.FLOAT,
        NodeKind.COMPLEX,
        NodeKind.SCALAR,
    }
)


def may_replace(kind: NodeKind, target: object) -> bool:
    """Say whether a saved value may stand where ``target`` does: None for all, numbers for numbers.

    >>> may_replace(NodeKind.FLOAT, 3), may_replace(NodeKind.STR, 3), may_replace(NodeKind.NONE, 3)
    (True, False, True)
    """
    import numpy as np

    if kind == NodeKind.NONE or target is None:
        return True
    if isinstance(target, bool | int | float | complex | np.generic):
        return kind in NUMBERS
    return (
        (kind == NodeKind.STR and isinstance(target, str))
        or (kind == NodeKind.BYTES and isinstance(target, bytes))
        or (kind == NodeKind.DATETIME and isinstance(target, dt.datetime))
        or (kind == NodeKind.PATH and isinstance(target, PurePath))
        or (kind == NodeKind.CUSTOM)
    )


def encode_path(value: PurePath) -> bytes:
    """Return a path as text."""
    return str(value).encode("utf-8", "surrogatepass")


def type_name(cls: type) -> str:
    """Return how the format names a class.

    >>> type_name(Path)
    'pathlib:Path'
    """
    return f"{cls.__module__}:{cls.__qualname__}"


def known_class(name: str, base: type | None, path: str) -> type:
    """Return the class of that name if it is imported already; nothing is ever imported by name.

    Args:
        name: ``module:qualname`` as the checkpoint has it.
        base: What the class must derive from, or None.
        path: Where in the tree, for the error.

    Raises:
        UnknownType: No such class is loaded.
    """
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    if not isinstance(found, type) or (base is not None and not issubclass(found, base)):
        mend = f"import {module!r} before loading"
        if "<locals>" in qualname:
            mend = "a class that a function has defined cannot be found; define it in a module"
        raise UnknownType(
            f"{path!r} was saved as a {name}, which is not loaded in this process. holdfast "
            f"imports nothing by name: {mend}, or give an object to load into with into=, or leave "
            "the leaf out with skip=.",
            path=path,
            type_name=name,
        )
    return found
