"""Two trees, leaf by leaf and bit by bit."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(slots=True)
class Comparison:
    """What was compared, and the leaves that differ."""

    n_leaves: int = 0
    nbytes: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether there was something to compare, and all of it was equal."""
        return self.n_leaves > 0 and not self.differences


def compare(left: object, right: object) -> Comparison:
    """Compare two trees of containers, arrays and plain values.

    Equal means: same types, same keys in the same order, same dtypes and shapes, same bits; so a
    NaN equals itself, and 0.0 does not equal -0.0.

    >>> compare({"w": [1.0, 2]}, {"w": [1.0, 2]}).equal
    True
    >>> compare({"w": 0.0}, {"w": -0.0}).differences
    ['w: 0.0 and -0.0']
    """
    result = Comparison()
    _walk(result, "", left, right)
    return result


def _walk(result: Comparison, path: str, left: Any, right: Any) -> None:
    if type(left) is not type(right):
        result.differences.append(f"{path}: {type(left).__name__} and {type(right).__name__}")
        return
    ours, theirs = _children(left), _children(right)
    if ours is None or theirs is None:
        _compare_leaf(result, path, left, right)
        return
    names = [key for key, _ in ours], [key for key, _ in theirs]
    if names[0] != names[1]:
        result.differences.append(f"{path}: entries {names[0]} and {names[1]}")
        return
    for (key, one), (_, other) in zip(ours, theirs, strict=True):
        _walk(result, f"{path}/{key}" if path else str(key), one, other)


def _children(value: Any) -> list[tuple[object, Any]] | None:
    """Return the entries of a container, None for a leaf."""
    if isinstance(value, np.random.RandomState):
        return list(value.get_state(legacy=False).items())
    if isinstance(value, np.random.Generator):
        return list(value.bit_generator.state.items())
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(part.name, getattr(value, part.name)) for part in dataclasses.fields(value)]
    return None


def _compare_leaf(result: Comparison, path: str, left: Any, right: Any) -> None:
    one, other = _bits(left), _bits(right)
    result.n_leaves += 1
    result.nbytes += len(one[1])
    if one != other:
        described = [repr(v) if len(b[1]) <= 16 else b[0] for v, b in ((left, one), (right, other))]
        result.differences.append(f"{path}: {described[0]} and {described[1]}")


def _bits(value: Any) -> tuple[str, bytes]:
    """Return what a leaf is, and its bytes."""
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        return _tensor_bits(value)
    if type(value).__module__.partition(".")[0] in ("jax", "jaxlib", "tensorflow"):
        value = _as_numpy(value)
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return f"{array.dtype} {array.shape}", array.tobytes()
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, bytes | bytearray):
        return type(value).__name__, bytes(value)
    return type(value).__name__, repr(value).encode()


def _as_numpy(value: Any) -> Any:
    if str(getattr(value, "dtype", "")).startswith("key<"):
        import jax

        value = jax.random.key_data(value)
    return np.asarray(value) if hasattr(value, "__array__") else value


def _tensor_bits(tensor: Any) -> tuple[str, bytes]:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return f"{tensor.dtype} {tuple(tensor.shape)}", flat.numpy().tobytes()
