"""Rules for what Python's own library pickles: containers, times, paths, numbers."""

from __future__ import annotations

import datetime as dt
import re
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from holdfast.foreign.arguments import as_int, as_text, exactly, shown_key
from holdfast.foreign.build import Builder, Rule
from holdfast.security.pickle_machine import Call, Global, Items
from holdfast.security.pickle_verdicts import shown

_FRACTION = re.compile(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?")
_DECIMAL = re.compile(r"-?([0-9]{1,4000}(\.[0-9]{0,4000})?(E[+-]?[0-9]{1,9})?|Infinity|s?NaN)")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_LATIN = ("latin1", "latin-1")


# --- containers ---


def _ordered(builder: Builder, call: Call) -> object:
    made: OrderedDict[object, object] = OrderedDict()
    for key, item in _pairs(builder, call):
        made[key] = item
    # Attributes, as the metadata that a module puts beside its state, are not part of the mapping.
    return made


def _pairs(builder: Builder, call: Call) -> list[tuple[object, object]]:
    """Return the items of a mapping: given as arguments, put into it, or both."""
    given = call.args[0] if call.args else ()
    pairs = given.pairs if isinstance(given, Items) else given
    if not isinstance(pairs, list | tuple):
        raise ValueError("no items")
    return [_pair(builder, item) for item in (*pairs, *call.filled)]


def _pair(builder: Builder, item: object) -> tuple[object, object]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise ValueError("an item that is no pair")
    return builder.key(item[0]), builder.value(item[1], shown_key(item[0]))


def _default(builder: Builder, call: Call) -> object:
    # The factory is a function: it makes new values only, which a checkpoint has none of.
    call = Call(call.how, call.function, call.args[1:], call.position, filled=call.filled)
    return _mapping(builder, call)


def _mapping(builder: Builder, call: Call) -> object:
    made = dict(_pairs(builder, call))
    builder.note(str(call.function), "dict")
    return made


def _queue(builder: Builder, call: Call) -> object:
    given = call.args[0] if call.args else ()
    if not isinstance(given, list | tuple):
        raise ValueError("no items")
    builder.note(str(call.function), "list")
    return [builder.value(item, str(i)) for i, item in enumerate((*given, *call.filled))]


def _namespace(builder: Builder, call: Call) -> object:
    builder.note(str(call.function), "dict")
    return builder.attributes(call.state)


def _members(builder: Builder, call: Call) -> object:
    (given,) = exactly(call, 1) if call.args else ((),)
    if not isinstance(given, list | tuple):
        raise ValueError("no members")
    made = {builder.key(member) for member in given}
    return frozenset(made) if call.function == Global("builtins", "frozenset") else made


def _sequence(builder: Builder, call: Call) -> object:
    (given,) = exactly(call, 1) if call.args else ((),)
    made = builder.value(given)
    if not isinstance(made, list | tuple | dict):
        raise ValueError("no items")
    return made


# --- bytes, numbers ---


def _encoded(builder: Builder, call: Call) -> object:
    text, codec = exactly(call, 2)
    if codec not in _LATIN:
        raise ValueError("a text in an unknown encoding")
    return as_text(text).encode("latin-1")


def _bytes(builder: Builder, call: Call) -> object:
    if not call.args:
        return b""
    if len(call.args) == 2 and call.args[1] in _LATIN:
        return as_text(call.args[0]).encode("latin-1")
    (given,) = exactly(call, 1)
    # bytes(5) makes five of them, of any number.
    return builder.bytes_of(given)


def _complex(builder: Builder, call: Call) -> object:
    real, imaginary = exactly(call, 2)
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise ValueError("no numbers")
    return complex(real, imaginary)


def _range(builder: Builder, call: Call) -> object:
    first, last, step = exactly(call, 3)
    return range(as_int(first), as_int(last), as_int(step))


def _slice(builder: Builder, call: Call) -> object:
    return slice(*(None if n is None else as_int(n) for n in exactly(call, 3)))


def _decimal(builder: Builder, call: Call) -> object:
    text = as_text(exactly(call, 1)[0])
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError("no decimal number")
    return Decimal(text)


def _fraction(builder: Builder, call: Call) -> object:
    # In a form that is short and means a number of a million digits it is refused.
    if len(call.args) == 2:
        return Fraction(as_int(call.args[0]), as_int(call.args[1]))
    text = as_text(exactly(call, 1)[0])
    if _FRACTION.fullmatch(text) is None or text.endswith("/0"):
        raise ValueError("no fraction")
    return Fraction(text)


def _uuid(builder: Builder, call: Call) -> object:
    state = builder.attributes(call.state)
    return UUID(int=as_int(state.get("int")))


# --- times, paths ---


def _timedelta(builder: Builder, call: Call) -> object:
    days, seconds, micros = (as_int(n) for n in exactly(call, 3))
    return dt.timedelta(days, seconds, micros)


def _timezone(builder: Builder, call: Call) -> object:
    values = [builder.value(arg) for arg in call.args]
    if not isinstance(values[0], dt.timedelta):
        raise ValueError("no offset")
    return (
        dt.timezone(values[0]) if len(values) == 1 else dt.timezone(values[0], as_text(values[1]))
    )


def _moment(builder: Builder, call: Call) -> object:
    packed = _packed(builder, call)
    if len(packed) != 10:
        raise ValueError("no time")
    year, month = int.from_bytes(packed[:2], "big"), packed[2] & 0x7F
    day, hour, minute, second = packed[3:7]
    micros = int.from_bytes(packed[7:], "big")
    made = dt.datetime(year, month, day, hour, minute, second, micros, fold=packed[2] >> 7)
    return made.replace(tzinfo=_zone_of(builder, call))


def _time(builder: Builder, call: Call) -> object:
    packed = _packed(builder, call)
    if len(packed) != 6:
        raise ValueError("no time")
    micros, zone = int.from_bytes(packed[3:], "big"), _zone_of(builder, call)
    hour = packed[0] & 0x7F
    return dt.time(hour, packed[1], packed[2], micros, tzinfo=zone, fold=packed[0] >> 7)


def _date(builder: Builder, call: Call) -> object:
    packed = _packed(builder, call)
    if len(packed) != 4:
        raise ValueError("no day")
    return dt.date(int.from_bytes(packed[:2], "big"), packed[2], packed[3])


def _packed(builder: Builder, call: Call) -> bytes:
    return builder.bytes_of(call.args[0])


def _zone_of(builder: Builder, call: Call) -> dt.tzinfo | None:
    zone = builder.value(call.args[1]) if len(call.args) > 1 else None
    if zone is not None and not isinstance(zone, dt.tzinfo):
        raise ValueError("no time zone")
    return zone


def _zone(builder: Builder, call: Call) -> object:
    name = as_text(call.args[0])
    if _ZONE.fullmatch(name) is None:
        raise ValueError("no name of a time zone")
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        builder.refuse(f"it is in the time zone {name!r}, which this machine does not know")


def _path(kind: type[PurePath]) -> Rule:
    # Pure, since these touch no file and exist on every system.
    return lambda builder, call: kind(*map(as_text, call.args))


# --- objects of old protocols ---


def _reconstructed(builder: Builder, call: Call) -> object:
    cls, base, _ = call.args
    if not isinstance(cls, Global):
        raise ValueError("no class")
    if base not in (Global("builtins", "object"), Global("__builtin__", "object")):
        builder.refuse(f"a {cls} is there, which derives from {shown(base)}")
    made = Call(call.how, cls, (), call.position, state=call.state, filled=call.filled)
    return builder.called(made)


_BUILTINS: dict[str, Rule] = {
    "set": _members,
    "frozenset": _members,
    "list": _sequence,
    "tuple": _sequence,
    "dict": _sequence,
    "bytes": _bytes,
    "bytearray": _bytes,
    "complex": _complex,
    "slice": _slice,
}
PLAIN_RULES: dict[str, Rule] = {
    **{f"builtins.{name}": rule for name, rule in _BUILTINS.items()},
    **{f"__builtin__.{name}": rule for name, rule in _BUILTINS.items()},
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _default,
    "collections.Counter": _mapping,
    "collections.deque": _queue,
    "builtins.range": _range,
    "__builtin__.xrange": _range,
    "argparse.Namespace": _namespace,
    "types.SimpleNamespace": _namespace,
    "_codecs.encode": _encoded,
    "datetime.datetime": _moment,
    "datetime.date": _date,
    "datetime.time": _time,
    "datetime.timedelta": _timedelta,
    "datetime.timezone": _timezone,
    "zoneinfo.ZoneInfo": _zone,
    "zoneinfo.ZoneInfo._unpickle": _zone,
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _fraction,
    "uuid.UUID": _uuid,
    **{f"pathlib.{name}": _path(PurePosixPath) for name in ("PosixPath", "PurePosixPath")},
    **{f"pathlib.{name}": _path(PureWindowsPath) for name in ("WindowsPath", "PureWindowsPath")},
    **{f"pathlib.{name}": _path(PurePath) for name in ("Path", "PurePath")},
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
}
