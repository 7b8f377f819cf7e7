"""How each kind of value is written down when a state is flattened."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.errors import UnsupportedLeaf
from holdfast.format.tree import NodeKind
from holdfast.state import arrays, codecs, kinds, values
from holdfast.state.dataclass_fields import more_than_fields
from holdfast.state.refusals import asked, refused, unsupported
from holdfast.state.sharding import Held
from holdfast.state.stateful import accessors, objection_to

if TYPE_CHECKING:
    from holdfast.state.flatten import Walk

Handler = Callable[["Walk", Any, str], None]


def _int(walk: Walk, value: int, path: str) -> None:
    if values.INT64_MIN <= value <= values.INT64_MAX:
        walk.plain(NodeKind.INT)
        walk.tree.ints.append(value)
    else:
        walk.blob(NodeKind.BIG_INT, values.encode_big_int(value))


def _float(walk: Walk, value: float, path: str) -> None:
    walk.plain(NodeKind.FLOAT)
    walk.tree.floats.append(value)


def _complex(walk: Walk, value: complex, path: str) -> None:
    walk.plain(NodeKind.COMPLEX)
    walk.tree.floats += [value.real, value.imag]


def _text(walk: Walk, value: Any, path: str) -> None:
    adapter = arrays.adapter_of(value)
    if adapter is not None:
        walk.array(adapter, value, path)
    elif isinstance(value, bytes):
        walk.blob(NodeKind.BYTES, value)
    else:
        walk.blob(NodeKind.STR, value.encode("utf-8", "surrogatepass"))


def _datetime(walk: Walk, value: dt.datetime, path: str) -> None:
    try:
        blob = values.encode_datetime(value)
    except ValueError as error:
        raise UnsupportedLeaf(
            f"{path!r} is a datetime that cannot be saved: {error}.", path=path
        ) from error
    walk.blob(NodeKind.DATETIME, blob)


def _enum(walk: Walk, value: Enum, path: str) -> None:
    if value.name is None or value.name not in type(value).__members__:
        raise UnsupportedLeaf(
            f"{path!r} is {value!r}, which is no single member of its enum.", path=path
        )
    walk.tree.type_name.append(values.type_name(type(value)))
    walk.blob(NodeKind.ENUM, value.name.encode())


def _named_tuple(walk: Walk, value: Any, path: str) -> None:
    walk.tree.type_name.append(values.type_name(type(value)))
    items = list(zip(value._fields, value, strict=True))
    walk.keyed(NodeKind.NAMED_TUPLE, value, items, path)


def _dataclass(walk: Walk, value: Any, path: str) -> None:
    names = [f.name for f in dataclasses.fields(value)]
    if problem := more_than_fields(value, names):
        raise UnsupportedLeaf(
            f"{path!r} is a {type(value).__qualname__}, a dataclass that {problem}; nothing was "
            "saved. Make that a field of it, or give its class state_dict() and load_state_dict(). "
            f"To leave it out: skip={path!r}.",
            path=path,
            type_name=type(value).__qualname__,
        )
    walk.tree.type_name.append(values.type_name(type(value)))
    items = [(name, getattr(value, name)) for name in names]
    walk.keyed(NodeKind.DATACLASS, value, items, path)


def _stateful(walk: Walk, value: Any, path: str) -> None:
    found = accessors(value)
    assert found is not None
    if what := objection_to(value):
        raise refused(path, what)
    _object(walk, value, type(value), found[0], path)


def _of_kind(walk: Walk, value: Any, path: str) -> None:
    kind = kinds.kind_of(value)
    assert kind is not None
    _object(walk, value, kind.stands_for(value), lambda: kind.take(value), path)


def _object(walk: Walk, value: Any, cls: type, take: Callable[[], object], path: str) -> None:
    earlier = walk.remembered.get(id(value))
    inner = asked(take, value, path) if earlier is None else earlier
    inner = walk.as_ranks_go_by_it(value, inner)
    walk.wrapped(NodeKind.STATEFUL, values.type_name(cls), value, inner, path)


def _custom(walk: Walk, value: Any, path: str) -> None:
    codec = codecs.codec_of(type(value))
    assert codec is not None
    with walk.unfiltered():
        earlier = walk.remembered.get(id(value))
        inner = asked(lambda: codec.encode(value), value, path) if earlier is None else earlier
        walk.wrapped(NodeKind.CUSTOM, codec.name, value, inner, path)


def _held(walk: Walk, value: Held, path: str) -> None:
    adapter = arrays.adapter_of(value.like)
    assert adapter is not None
    walk.array(adapter, value, path)


_PLAIN: dict[type, Handler] = {
    type(None): lambda walk, value, path: walk.plain(NodeKind.NONE),
    bool: lambda walk, value, path: walk.plain(NodeKind.TRUE if value else NodeKind.FALSE),
    int: _int,
    float: _float,
    complex: _complex,
    str: _text,
    bytes: _text,
    dt.datetime: _datetime,
    dict: lambda walk, value, path: walk.keyed(NodeKind.DICT, value, list(value.items()), path),
    OrderedDict: lambda walk, value, path: walk.keyed(
        NodeKind.ORDERED_DICT, value, list(value.items()), path
    ),
    list: lambda walk, value, path: walk.sequence(NodeKind.LIST, value, path),
    tuple: lambda walk, value, path: walk.sequence(NodeKind.TUPLE, value, path),
    Held: _held,
}

_handlers: dict[type, Handler] = {}
_handlers_version = (-1, -1, -1)


def known_handlers() -> dict[type, Handler]:
    """Return the handlers of the classes that were met since anything was last registered."""
    global _handlers_version
    version = (arrays.registry_version(), codecs.codec_count(), kinds.kind_count())
    if version != _handlers_version:
        _handlers.clear()
        _handlers_version = version
    return _handlers


def handler_of(value: Any, path: str) -> Handler:
    """Return what writes down values of a class.

    Raises:
        UnsupportedLeaf: Such values cannot be saved.
    """
    cls = type(value)
    handler = _PLAIN.get(cls) or _find(value, cls)
    if handler is None:
        raise UnsupportedLeaf(unsupported(value, cls, path), path=path, type_name=cls.__qualname__)
    return handler


def _find(value: Any, cls: type) -> Handler | None:
    if codecs.codec_of(cls) is not None:
        return _custom
    adapter = arrays.adapter_of(value)
    if adapter is not None:
        return lambda walk, value, path: walk.array(adapter, value, path)
    if isinstance(value, np.generic):
        return lambda walk, value, path: walk.blob(
            NodeKind.SCALAR, values.encode_scalar(value, path)
        )
    if kinds.kind_of(value) is not None:
        return _of_kind
    if isinstance(value, Enum):
        return _enum
    if accessors(value) is not None:
        return _stateful
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return _named_tuple
    if isinstance(value, Path):
        return lambda walk, value, path: walk.blob(NodeKind.PATH, values.encode_path(value))
    return None


def may_hold_leaves(value: object) -> bool:
    """Say whether there can be leaves below a value, so that a filter has to look."""
    cls = type(value)
    if cls in (dict, OrderedDict, list, tuple) or hasattr(cls, "_fields"):
        return True
    if dataclasses.is_dataclass(cls) and cls is not Held:
        # An array that is still in a foreign file is one, too, and a leaf.
        return arrays.adapter_of(value) is None
    if kinds.kind_of(value) is not None:
        return True
    return cls is not Held and codecs.codec_of(cls) is None and accessors(value) is not None
