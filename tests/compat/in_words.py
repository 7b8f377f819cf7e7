"""A state in words that JSON has: what was saved years ago can be compared with what is read.

Only NumPy and the standard library are needed to tell whether two states are the same, and no line
of holdfast: what this says of a state may never change.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def described(state: object) -> dict[str, str]:
    """Return each leaf and container of a state by its path, in words."""
    return dict(_walk("", state))


def _walk(path: str, value: Any) -> Iterator[tuple[str, str]]:
    inner = _inner(value)
    if inner is None:
        yield path, _leaf(value)
        return
    yield path, f"{type(value).__name__} of {len(inner)}"
    for key, child in inner.items():
        yield from _walk(f"{path}/{key!r}", child)


def _inner(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value):
        return vars(value)
    return None


def _leaf(value: Any) -> str:
    if hasattr(value, "detach"):  # PyTorch's; as bytes, since NumPy does not have all of its types.
        import torch

        raw = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{value.dtype} {tuple(value.shape)} {_digest(raw.tobytes())}"
    if isinstance(value, np.ndarray):
        return f"numpy.{value.dtype.str} {value.shape} {_digest(value.tobytes())}"
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    return f"{type(value).__name__} {value!r}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
