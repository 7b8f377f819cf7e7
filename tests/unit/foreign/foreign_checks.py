"""What a foreign file's own loader gives, compared with what holdfast reads of it, bit for bit."""

from __future__ import annotations

import argparse
import collections
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast import foreign
from holdfast.foreign import ForeignTree


def read(path: Path | str, **more: Any) -> ForeignTree:
    """Read in this process: most tests ask what is read, not where."""
    return foreign.read(path, **{"confined": False, **more})


def bits(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        return str(value.dtype).removeprefix("torch."), tuple(value.shape), flat.tobytes()
    # Some loaders turn bytes round, some keep them as they are in the file.
    native = value.astype(value.dtype.newbyteorder("="))
    return native.dtype.name, native.shape, np.ascontiguousarray(native).tobytes()


def assert_same(found: Any, expected: Any, path: str = "") -> None:
    """Compare, by the rules that the guide states."""
    if isinstance(expected, argparse.Namespace):
        expected = vars(expected)
    elif isinstance(expected, collections.deque):
        expected = list(expected)
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        expected = expected.tolist()
    elif isinstance(expected, torch.dtype | torch.device):
        expected = str(expected)
    elif isinstance(expected, bytearray):
        expected = bytes(expected)
    if isinstance(expected, torch.Tensor | np.ndarray):
        assert bits(found) == bits(expected), path
    elif isinstance(expected, dict):
        assert list(found) == list(expected), path
        for key in expected:
            assert_same(found[key], expected[key], f"{path}/{key}")
    elif isinstance(expected, list | tuple):
        assert isinstance(found, list if isinstance(expected, list) else tuple), path
        assert len(found) == len(expected), path
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{path}/{i}")
    else:
        assert found == expected or (found != found and expected != expected), path
        assert isinstance(found, np.generic) == isinstance(expected, np.generic), path
