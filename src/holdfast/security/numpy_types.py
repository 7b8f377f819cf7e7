"""NumPy's element types as pickles describe them, made from the description and not by a call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from holdfast.security.pickle_machine import Call, Global, Items

_DTYPE = Global("numpy", "dtype")
_ENCODE = Global("_codecs", "encode")
_DEPTH = 20
_PLAIN = re.compile(r"b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SUV][0-9]{1,9}|[OmM]8?|[mM]8")
_ORDERS = ("<", ">", "|", "=")
_UNITS = re.compile(r"generic|[YMWDhms]|[munpfa]s")


def numpy_dtype(value: object, depth: int = 0) -> np.dtype[Any]:
    """Return the type that a stand-in for a NumPy dtype describes.

    Raises:
        ValueError: It describes none, or one that is too deep.
    """
    if depth > _DEPTH:
        raise ValueError("a type that is too deep")
    if not isinstance(value, Call) or value.function != _DTYPE or not value.args:
        raise ValueError("no description of an array's type")
    kind = value.args[0]
    if not isinstance(kind, str) or _PLAIN.fullmatch(kind) is None:
        raise ValueError("an array of an unknown type")
    state = value.state if value.state is not None else ()
    if not isinstance(state, tuple) or (state and len(state) < 5):
        raise ValueError("a malformed description of an array's type")
    return _with_state(kind, state, depth)


def _with_state(kind: str, state: Sequence[object], depth: int) -> np.dtype[Any]:
    order = state[1] if state else "="
    if order not in _ORDERS:
        raise ValueError("a byte order that does not exist")
    if state and state[2] is not None:
        return _subarray(state[2], depth)
    if state and state[3] is not None:
        return _structure(kind, state, depth)
    if kind[0] in "mM":
        return np.dtype(f"{_order(order)}{kind[0]}8{_unit(state)}")
    return np.dtype(kind).newbyteorder(order)  # type: ignore[arg-type]


def _order(order: object) -> str:
    return str(order) if order in ("<", ">") else "="


def _unit(state: Sequence[object]) -> str:
    if len(state) < 9:
        return ""
    described = state[8]
    unit = described[1] if isinstance(described, tuple) and len(described) == 2 else None
    if not isinstance(unit, tuple) or len(unit) < 2:
        raise ValueError("a time without a unit")
    name = _text_of(unit[0])
    if _UNITS.fullmatch(name) is None or not isinstance(unit[1], int) or not 0 < unit[1] < 2**31:
        raise ValueError("a time with an unknown unit")
    if unit[2:] not in ((), (1,), (1, 1)):
        raise ValueError("a time with a fraction of a unit")
    return "" if name == "generic" else f"[{unit[1]}{name}]"


def _text_of(value: object) -> str:
    if isinstance(value, Call) and value.function == _ENCODE and value.args:
        # As old protocols have bytes.
        value = value.args[0]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _subarray(described: object, depth: int) -> np.dtype[Any]:
    if not isinstance(described, tuple) or len(described) != 2:
        raise ValueError("a malformed array in a type")
    shape = described[1] if isinstance(described[1], tuple) else (described[1],)
    return np.dtype((numpy_dtype(described[0], depth + 1), array_shape(shape)))


def _structure(kind: str, state: Sequence[object], depth: int) -> np.dtype[Any]:
    names, fields = state[3], state[4]
    itemsize = int(kind[1:]) if kind.startswith("V") else -1
    if not isinstance(names, tuple) or not isinstance(fields, Items) or itemsize < 0:
        raise ValueError("a malformed structured type")
    by_name = {name: field for name, field in fields.pairs if isinstance(name, str)}
    formats, offsets = [], []
    for name in names:
        field = by_name.get(name) if isinstance(name, str) else None
        if not isinstance(field, tuple) or len(field) != 2 or not isinstance(field[1], int):
            raise ValueError("a field without a type, or with a title")
        formats.append(numpy_dtype(field[0], depth + 1))
        offsets.append(field[1])
    made: np.dtype[Any] = np.dtype(
        {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": itemsize}
    )
    return made


def array_shape(value: object) -> tuple[int, ...]:
    """Return a tuple of dimensions, or raise ValueError."""
    if not isinstance(value, tuple) or len(value) > 64:
        raise ValueError("an array without a shape")
    for n in value:
        if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n < 2**62:
            raise ValueError("an array with a dimension that cannot be")
    return value
