"""Equality as a user of a checkpoint means it: the same types, and the same bits in them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

import holdfast


def roundtrip(path: Path, tree: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Save a tree and load it as a new one."""
    holdfast.save(path, tree, run="run", step=1, rng=False)
    return holdfast.load(path, "run@latest", **options)


def assert_same(found: Any, expected: Any, path: str = "") -> None:
    """Assert that two trees are the same in types, order of keys, and every bit."""
    assert type(found) is type(expected), f"{path}: {type(found)}, expected {type(expected)}"
    if isinstance(expected, dict):
        keys = [(type(k), _bits(k)) for k in expected]
        assert [(type(k), _bits(k)) for k in found] == keys, path
        for (key, value), other in zip(expected.items(), found.values(), strict=True):
            assert_same(other, value, f"{path}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), path
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_same(a, b, f"{path}/{i}")
    elif dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            a, b = getattr(found, field.name), getattr(expected, field.name)
            assert_same(a, b, f"{path}/{field.name}")
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, f"{path}: {found.dtype}, expected {expected.dtype}"
        assert found.shape == expected.shape, path
        assert found.tobytes() == expected.tobytes(), path
    elif _is_tensor(expected):
        assert found.dtype == expected.dtype and found.shape == expected.shape, path
        assert tensor_bytes(found) == tensor_bytes(expected), path
    else:
        assert _bits(found) == _bits(expected), f"{path}: {found!r}, expected {expected!r}"


def tensor_bytes(tensor: Any) -> bytes:
    """Return the bytes of a tensor in C order, whatever its layout."""
    import torch

    dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return bytes(dense.view(-1).view(torch.uint8).numpy()) if dense.numel() else b""


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _bits(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.dtype, value.tobytes()
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, complex):
        return struct.pack("<dd", value.real, value.imag)
    if isinstance(value, dt.datetime):
        zone = value.tzinfo
        return value.isoformat(), value.fold, type(zone), str(zone)
    return value
