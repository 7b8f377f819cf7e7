"""The classes that the golden checkpoint names, and the state that it was made of."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import torch

import holdfast


class Phase(Enum):
    WARM_UP = "w"
    COOL_DOWN = "c"


class Pair(NamedTuple):
    left: int
    right: object


@dataclass
class Options:
    rate: float
    name: str


class Net:
    """Something with a state_dict, as a module has one."""

    def __init__(self) -> None:
        self.weight = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8
        self.bias = torch.tensor([1.0, -2.0, float("inf")], dtype=torch.bfloat16)
        self.big = (torch.arange(10_000) % 251).to(torch.uint8)

    def state_dict(self) -> OrderedDict[str, Any]:
        return OrderedDict(
            [
                ("layer.weight", self.weight),
                ("layer.bias", self.bias),
                ("tied.weight", self.weight),
                ("big", self.big),
            ]
        )

    def load_state_dict(self, state: Any) -> None:
        raise AssertionError("not needed here")


class Ratio:
    """Something that only a codec can save."""

    def __init__(self, above: int, below: int) -> None:
        self.above, self.below = above, below

    def __repr__(self) -> str:
        return f"Ratio({self.above}, {self.below})"


holdfast.register_codec(Ratio, lambda r: [r.above, r.below], lambda t: Ratio(*t))

NUMPY_DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
TORCH_DTYPES = [
    "bfloat16",
    "complex32",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]
RECORD = np.dtype([("id", "<u2"), ("xy", "<f4", (2,))])
LONG_TEXT = "kelp 🌿 " * 600
LONG_BYTES = bytes(range(256)) * 17


def array_of(dtype: str) -> np.ndarray[Any, Any]:
    """Return three elements of a type that NumPy knows."""
    if dtype == "bool":
        return np.array([True, False, True])
    if dtype.startswith("complex"):
        return np.array([1 + 2j, -0.5j, 3], dtype)
    low = 0 if dtype.startswith("u") else -1
    return np.array([low, 1, 7], dtype)


def tensor_of(dtype: str) -> torch.Tensor:
    """Return three elements of a type that only PyTorch knows, from their bytes."""
    element = getattr(torch, dtype)
    size = torch.empty((), dtype=element).element_size()
    return (torch.arange(3 * size, dtype=torch.uint8) + 60).view(element)


def state() -> dict[str, Any]:
    """Return the state of the golden checkpoint; ``containers/4`` is to be left out."""
    return {
        "model": Net(),
        "plain": {
            "none": None,
            "false": False,
            "true": True,
            "int": -(2**63),
            "big int": 2**64 + 1,
            "negative big int": -(2**200),
            "float": 0.1,
            "nan": float("nan"),
            "negative zero": -0.0,
            "complex": complex(1.5, float("-inf")),
            "str": "Tang, Möhre, 🌿, \ud800",
            "empty str": "",
            "bytes": b"\x00\xff\n",
            "datetime": dt.datetime(2024, 2, 29, 23, 59, 59, 123456),
            "datetime utc": dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
            "datetime zone": dt.datetime(
                2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1
            ),
            "path": Path("runs/a b"),
            "enum": Phase.COOL_DOWN,
            "scalar": np.float32(0.25),
            "scalar time": np.datetime64("2024-02-29", "D"),
            "scalar str": np.str_("kelp\0"),
            "scalar bytes": np.bytes_(b""),
        },
        "keys": {"a/b~c": 1, 1: 2, -1: 3, None: 4, 0.5: 5, "\ud800": 6, "1": 7},
        "bool keys": {True: 1, False: 0},
        "containers": [
            (),
            {},
            [],
            (1, [2, (3,)]),
            "left out by a filter",
            Pair(1, "r"),
            Options(0.5, "adam"),
            Ratio(2, 3),
            OrderedDict([("b", 1), ("a", 2)]),
        ],
        "dtypes": {name: array_of(name) for name in NUMPY_DTYPES}
        | {name: tensor_of(name) for name in TORCH_DTYPES}
        | {
            "np:<U3": np.array(["ab", "c", ""], "<U3"),
            "np:|S2": np.array([b"ab", b"c"], "|S2"),
            "np:>f4": np.array([1.5, -2], ">f4"),
            "np:<M8[ns]": np.array([0, 10**18], "<M8[ns]"),
            "record": np.array([(1, (0.5, -1)), (2, (3, 4))], RECORD),
        },
        "shapes": {
            "no dimensions": np.array(2.5),
            "no elements": np.zeros((0, 3), np.float32),
            "text": LONG_TEXT,
            "bytes": LONG_BYTES,
        },
    }


SKIP = "containers/4"
