"""A run's configuration and the fingerprint of its data, as users hand them in, checked."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath

from holdfast.errors import UsageError

MAX_CONFIG_BYTES = 1 << 20
MAX_DATASET_CHARACTERS = 10_000
_MAX_DEPTH = 50


def clean_config(config: object) -> dict[str, object] | None:
    """Return a configuration as plain JSON.

    Args:
        config: A mapping, a dataclass object or an ``argparse.Namespace``, of text, numbers, bools,
            None, paths, enums (by their names), and mappings and sequences of these; or None.

    Raises:
        UsageError: It is something else, or larger than 1 MiB; the message names the place.
    """
    if config is None:
        return None
    found = _plain(config, "config", 0)
    if not isinstance(found, dict):
        raise UsageError(f"config= takes a mapping, not a {type(config).__name__}.")
    if len(json.dumps(found)) > MAX_CONFIG_BYTES:
        raise UsageError(
            f"config= has more than {MAX_CONFIG_BYTES:,} bytes as JSON; it goes with every "
            "checkpoint, so leave data out of it."
        )
    return found


def check_dataset(dataset: object) -> str | None:
    """Return the fingerprint of data, or raise UsageError where it is no text."""
    if dataset is None:
        return None
    if not isinstance(dataset, str) or not 0 < len(dataset) <= MAX_DATASET_CHARACTERS:
        raise UsageError(
            f"dataset= takes a fingerprint as text, such as 'sha256:9f3a…', not {dataset!r:.100}."
        )
    return dataset


def _plain(value: object, place: str, depth: int) -> object:
    if depth > _MAX_DEPTH:
        raise UsageError(f"{place[:100]}… of config= is nested too deeply, or in itself.")
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int | float):
        return _number(value, place)
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {_key(k, place): _plain(v, f"{place}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_plain(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(items)]
    return _item(value, place)


def _number(value: int | float, place: str) -> object:
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return float(value)
    if abs(value) >= 2**63:
        raise UsageError(f"{place} of config= is an integer of more than 64 bits.")
    return int(value)


def _item(value: object, place: str) -> object:
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        return _plain(item(), place, _MAX_DEPTH)
    raise UsageError(
        f"{place} of config= is a {type(value).__name__}, which is no text, number, bool, path or "
        "container of these. Give what describes it, its name say."
    )


def _key(key: object, place: str) -> str:
    # An int, as JSON has none for a key, becomes its text.
    if not isinstance(key, str | int):
        raise UsageError(f"{place} of config= has the key {key!r}; keys are text.")
    return str(key)
