"""Typed random keys of JAX in Orbax checkpoints: numbers, and beside them whose they are."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.convert.orbax.arrays import damaged
from holdfast.foreign.arrays import ForeignArray

_FOLDER = "array_metadatas"
_MAX_FILE_BYTES = 1 << 30
# Keys are made at once, not as they are read; so many stay what they are in the file.
_MOST_BYTES = 64 << 20


def generators_of_keys(folder: Path, path: str) -> dict[str, str]:
    """Return the generators (``threefry2x32``) of the arrays that are keys, by their names.

    Args:
        folder: The item.
        path: The item, for messages.

    Raises:
        ForeignDamaged: What the folder says of its arrays makes no sense.
    """
    found: dict[str, str] = {}
    for file in sorted((folder / _FOLDER).glob("process_*")):
        try:
            if file.stat().st_size > _MAX_FILE_BYTES:
                raise ValueError(f"{file.stat().st_size:,} bytes")
            for entry in json.loads(file.read_bytes())["array_metadatas"]:
                about = entry["array_metadata"]
                generator = (about.get("ext_metadata") or {}).get("random_key_impl")
                if generator is not None:
                    found[str(about["param_name"])] = str(generator)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(path, f"{_FOLDER}/{file.name} cannot be read ({error!r})") from error
    return found


def as_key(
    array: ForeignArray, generator: str, name: str, path: str, note: Callable[[str], None]
) -> Any:
    """Return the typed key that an array is the numbers of; the array where it cannot be had.

    Args:
        array: The numbers.
        generator: Whose they are.
        name: Of the leaf, for messages.
        path: The item, for messages.
        note: Called with a line where the array stays one.

    Raises:
        ForeignDamaged: They are no numbers of that generator.
    """
    try:
        jax = importlib.import_module("jax")
    except ImportError:
        jax = None
    if jax is None or array.nbytes > _MOST_BYTES:
        note(f"{name}: keys of the generator {generator} became their numbers")
        return array
    numbers = bytearray(array.nbytes)
    array.read(0, memoryview(numbers))
    try:
        data = np.frombuffer(numbers, array.dtype).reshape(array.shape)
        return jax.random.wrap_key_data(data, impl=generator)
    except (TypeError, ValueError) as error:
        raise damaged(path, f"{name!r} is no key of the generator {generator!r}") from error
