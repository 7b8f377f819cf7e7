"""What is in a checkpoint, leaf by leaf: digests to compare, and arrays when they are asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

# A list of at least as many plain numbers is one leaf: a generator's words, a history.
_MANY = 32
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf.

    Attributes:
        kind: ``array``, ``numbers`` for a long list of them, or the name of a plain type.
        digest: Of its type and bytes.
        dtype: Element type of an array.
        shape: Shape of an array, in elements.
        text: A plain value, for people.
        tie: The same text for leaves that share their memory; empty if it shares none.
    """

    kind: str
    digest: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    text: str = ""
    tie: str = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """One checkpoint, or another file of results.

    Attributes:
        key: What it is called, the same in every run of the script.
        leaves: Its leaves by path.
        array: Reads one array or number of it, to measure a difference.
        problem: Why it could not be looked into, if it could not; it is then one leaf of bytes.
        is_newest: Whether it is the last checkpoint that the run has made.
    """

    key: str
    leaves: Mapping[str, Leaf]
    array: Callable[[str], npt.NDArray[Any] | None] = field(
        default=lambda path: None, compare=False
    )
    problem: str | None = None
    is_newest: bool = False


def leaves_of(tree: object, places: Mapping[str, str] | None = None) -> dict[str, Leaf]:
    """Return the leaves of a tree of containers, arrays and plain values.

    Args:
        tree: The tree. Arrays are NumPy's, PyTorch's, or handles with ``dtype`` and ``numpy()``.
        places: Texts that differ from run to run, and what they become: folders.
    """
    return {placed(path, places or {}): leaf_of(value, places or {}) for path, value in flat(tree)}


def placed(text: str, places: Mapping[str, str]) -> str:
    """Return a text, or a path with one in it, as it is in every run: without its folders."""
    for place, name in places.items():
        text = text.replace(place, name)
    return re.sub(r"\bversion_\d+", "version_*", text)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree with their paths."""
    pairs: Iterator[tuple[object, Any]] | None = None
    if isinstance(value, Mapping):
        pairs = iter(value.items())
    elif isinstance(value, list | tuple) and not _is_numbers(value):
        pairs = enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type) and not is_array(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    if pairs is None:
        yield path, value
        return
    for key, inner in pairs:
        yield from flat(inner, f"{path}/{key}" if path else str(key))


def is_array(value: object) -> bool:
    """Say whether a value is an array, a tensor, or a handle of one."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def to_numpy(value: Any) -> npt.NDArray[Any]:
    """Return an array of any kind as NumPy's; types that NumPy lacks are widened."""
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        if str(tensor.dtype) in ("torch.bfloat16",) or "float8" in str(tensor.dtype):
            tensor = tensor.float()
        return np.asarray(tensor.resolve_conj().resolve_neg().numpy())
    if hasattr(value, "storages"):
        return np.asarray(value.numpy())
    return np.asarray(value)


def _is_numbers(value: list[Any] | tuple[Any, ...]) -> bool:
    return len(value) >= _MANY and all(isinstance(item, int | float) for item in value)


def leaf_of(value: Any, places: Mapping[str, str]) -> Leaf:
    """Return what one leaf is, with texts that differ from run to run replaced."""
    if is_array(value):
        data = to_numpy(value)
        dtype = str(value.dtype).removeprefix("torch.")
        return Leaf(
            "array",
            _digest(f"{dtype} {tuple(data.shape)}", np.ascontiguousarray(data).tobytes()),
            dtype,
            tuple(data.shape),
            tie=_tie(value),
        )
    if isinstance(value, list | tuple) and value:
        return Leaf("numbers", _digest("numbers", repr(value).encode()), shape=(len(value),))
    if isinstance(value, bytes | bytearray):
        return Leaf("bytes", _digest("bytes", bytes(value)), text=f"{len(value)} bytes")
    if isinstance(value, float):
        return Leaf("float", _digest("float", struct.pack("<d", value)), text=repr(value))
    text = placed(str(value), places)
    kind = type(value).__name__
    return Leaf(kind, _digest(kind, text.encode()), text=text[:_SHOWN])


def _tie(value: Any) -> str:
    if hasattr(value, "storages"):
        boxes = value.boxes
        first = boxes[0].view if boxes else None
        return f"{sorted(value.storages)} {first.offset} {first.shape}" if first else ""
    if hasattr(value, "data_ptr") and value.numel():
        return f"{value.data_ptr()} {tuple(value.shape)}"
    if isinstance(value, np.ndarray) and value.size:
        return f"{value.__array_interface__['data'][0]} {value.shape}"
    return ""


def ties(leaves: Mapping[str, Leaf]) -> frozenset[frozenset[str]]:
    """Return the groups of paths that are one array."""
    groups: dict[str, set[str]] = {}
    for path, leaf in leaves.items():
        if leaf.tie and math.prod(leaf.shape) > 0:
            groups.setdefault(leaf.tie, set()).add(path)
    return frozenset(frozenset(paths) for paths in groups.values() if len(paths) > 1)


def _digest(what: str, data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12, key=what.encode()[:64]).hexdigest()
