"""Strategies for states: nested trees of everything that can be saved."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Record:
    a: Any
    b: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    y: Any


texts = st.text(st.characters(), max_size=12)
zones = st.sampled_from([None, dt.UTC, ZoneInfo("Europe/Vienna"), ZoneInfo("America/New_York")])
offsets = st.integers(-86_399, 86_399).map(lambda s: dt.timezone(dt.timedelta(seconds=s)))

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.complex_numbers(allow_nan=True),
    texts,
    st.binary(max_size=20),
    st.integers(4090, 4100).map(lambda n: "ü" * n),
    st.integers(4090, 4100).map(lambda n: b"\xff" * n),
    st.datetimes(timezones=st.one_of(zones, offsets)),
    st.lists(st.text("ab.ü ", min_size=1, max_size=4), max_size=3).map(lambda p: Path(*p)),
    st.sampled_from([Colour.RED, Colour.BLUE, Level.LOW, Level.HIGH]),
)

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.unicode_string_dtypes(min_len=1, max_len=4),
    hnp.byte_string_dtypes(min_len=1, max_len=4),
    st.just(np.dtype([("a", "<i2"), ("b", ">f4", (2,))])),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Arrays of random bits in any layout."""
    dtype = draw(dtypes)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    n = int(np.prod(shape, dtype=int))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    if dtype.kind in "US":
        made = rng.integers(65, 90, n).astype(dtype).reshape(shape)
    elif dtype.kind == "b":
        made = rng.integers(0, 2, n).astype(bool).reshape(shape)
    else:
        made = np.frombuffer(rng.bytes(n * dtype.itemsize), dtype).reshape(shape)
    turn = draw(st.sampled_from(["none", "transpose", "reverse", "step", "fortran"]))
    if turn == "transpose":
        made = made.T
    elif turn == "fortran":
        made = np.asfortranarray(made)
    elif turn != "none" and made.ndim:
        made = made[:: -1 if turn == "reverse" else 2]
    return made


@st.composite
def scalars(draw: st.DrawFn) -> np.generic:
    """NumPy scalars of random bits."""
    kind = draw(st.sampled_from(["?", "i1", "u8", "f2", "f4", "f8", "c8", "M8[s]", "m8[us]"]))
    data = np.random.default_rng(draw(st.integers(0, 9))).bytes(16)
    made: np.generic = np.frombuffer(b"\1" if kind == "?" else data, kind, count=1)[0]
    return made


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of random bits in any layout."""
    names = ["bool", "uint8", "int16", "int64", "float16", "bfloat16", "float32", "complex64"]
    dtype = getattr(torch, draw(st.sampled_from([*names, "float8_e4m3fn", "uint16"])))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    size = torch.empty((), dtype=dtype).element_size()
    n = int(np.prod(shape, dtype=int))
    if n == 0:
        return torch.empty(shape, dtype=dtype)
    data = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, n * size, np.uint8)
    raw = torch.from_numpy(data)
    made = ((raw > 127) if dtype == torch.bool else raw.view(dtype)).view(shape)
    if draw(st.booleans()) and made.ndim > 1:
        made = made.transpose(0, -1)
    if dtype.is_complex and draw(st.booleans()):
        made = made.conj()
    return made


leaves = st.one_of(plain, plain, arrays(), scalars(), tensors())
keys = st.one_of(texts, texts, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Containers of every kind around values of a strategy."""
    mapping = st.dictionaries(keys, inner, max_size=4)
    return st.one_of(
        mapping,
        mapping.map(OrderedDict),
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.builds(Pair, inner, inner),
        st.builds(Record, inner, inner),
        st.builds(Frozen, inner, inner),
    )


values = st.recursive(leaves, containers, max_leaves=15)
roots = st.text(st.characters(exclude_characters="@"), max_size=8)
states = st.dictionaries(roots, values, min_size=1, max_size=4)
