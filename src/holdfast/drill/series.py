"""Metrics that a script has told: in holdfast stores, in files, in what it printed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.drill.checkpoint_files import is_within
from holdfast.drill.store_reading import OpenStore
from holdfast.drill.work_folder import RunFolder
from holdfast.errors import HoldfastError

_STEP = re.compile(
    r"\b(global[_ ]step|step|iteration|iter|epoch|batch)\b\s*[:=#]?\s*(\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"([A-Za-z_][\w./-]*)\s*[:=]?\s+?[:=]?\s*([-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan|inf)|"
    r"[-+]?\d+(?![\w./]))|([A-Za-z_][\w./-]*)[:=]([-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf))(?![\w/])",
    re.IGNORECASE,
)
_STEPS = ("step", "global_step", "iteration", "iter", "epoch")
# Words for what is never the same twice; as whole words, for a theta is no eta.
_VOLATILE = re.compile(
    r"(?<![a-z])(time|times|timestamps?|timing|datetime|date|runtime|walltime|uptime|elapsed|"
    r"duration|secs?|seconds?|ms|speed|eta|throughput|host|hostname|pid|mem|memory|flos|flops)"
    r"(?![a-z])"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: its value at each step; of a step that was done twice, the last."""

    source: str
    name: str
    values: Mapping[float, float]

    @property
    def key(self) -> str:
        """What it is called among all metrics of a run."""
        return key_of(self.source, self.name)


def key_of(source: str, name: str) -> str:
    """Return what a metric is called among all metrics of a run."""
    return f"{source}: {name}"


def of_stores(folder: RunFolder, stores: Iterable[str], open_store: OpenStore) -> Iterator[Series]:
    """Yield what the runs of stores have logged."""
    for name in stores:
        try:
            store = open_store(str(folder.root / name))
            for run in store.runs():
                log = store.metrics(run)
                for metric in log.names:
                    steps, values = log.series(metric)
                    pairs = zip(steps.tolist(), values.tolist(), strict=True)
                    yield Series(f"{name}: {run}", metric, dict(pairs))
        except HoldfastError:
            continue


def of_files(folder: RunFolder, stores: Sequence[str]) -> Iterator[Series]:
    """Yield what files of metrics have: CSV, JSON Lines, JSON lists of records with a step.

    A store's own files are none.
    """
    newest = dict(sorted(folder.files(), key=lambda item: item[1].changed_ns))
    merged: dict[tuple[str, str], dict[float, float]] = {}
    for name, seen in newest.items():
        if is_within(name, stores):
            continue
        if seen.nbytes > _MOST_BYTES or not name.endswith((".csv", ".jsonl", ".json", ".log")):
            continue
        try:
            text = (folder.root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        key = re.sub(r"\bversion_\d+|checkpoint-\d+/", "", name)
        for found in _of_records(key, _records(name, text)):
            merged.setdefault((found.source, found.name), {}).update(found.values)
    for (source, metric), values in merged.items():
        yield Series(source, metric, values)


def _records(name: str, text: str) -> list[Mapping[str, Any]]:
    if name.endswith(".csv"):
        try:
            return list(csv.DictReader(io.StringIO(text)))
        except csv.Error:
            return []
    if name.endswith(".json"):
        return _json_records(text)
    rows: list[Mapping[str, Any]] = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _json_records(text: str) -> list[Mapping[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    lists = [value, *value.values()] if isinstance(value, dict) else [value]
    return [r for part in lists if isinstance(part, list) for r in part if isinstance(r, dict)]


def _of_records(source: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Series]:
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        step = next((_number(row[name]) for name in _STEPS if name in row), None)
        if step is None:
            continue
        for name, value in row.items():
            number = _number(value)
            if name is not None and name not in _STEPS and number is not None:
                found.setdefault(name, {})[_step(step)] = number
    for name, values in found.items():
        yield Series(source, name, values)


def of_lines(lines: Iterable[str]) -> Iterator[Series]:
    """Yield what was printed: lines with a step, or an epoch, and numbers with names.

    >>> [(s.name, dict(s.values)) for s in of_lines(["step 3 loss 0.25 lr=1e-3"])]
    [('loss', {3: 0.25}), ('lr', {3: 0.001})]
    """
    found: dict[str, dict[float, float]] = {}
    for line in lines:
        line = line.replace("'", "").replace('"', "")
        step = _STEP.search(line)
        if step is None:
            continue
        unit = step[1].lower()
        for match in _VALUE.finditer(line):
            name, text = (match[1], match[2]) if match[1] else (match[3], match[4])
            number = _number(text)
            if name.lower() in (*_STEPS, "batch") or number is None:
                continue
            # The same name by epochs and by steps is two series.
            key = name if unit.endswith("step") else f"{name} by {unit}"
            found.setdefault(key, {})[_step(float(step[2]))] = number
    for name, values in found.items():
        yield Series("printed", name, values)


def _step(number: float) -> float:
    """Return a step as a whole number if it is one; epochs need not be."""
    return int(number) if number.is_integer() else number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def equal(one: float, other: float) -> bool:
    """Say whether two numbers are the same; NaN is the same as NaN."""
    return bool(one == other or (np.isnan(one) and np.isnan(other)))


def is_volatile(series: Series) -> bool:
    """Say whether a metric tells of time and machine, which are never twice the same."""
    return tells_of_time(os.path.basename(series.name))


def tells_of_time(name: str) -> bool:
    """Say whether a name is of something that time or machine decide.

    >>> tells_of_time("train_samples_per_second"), tells_of_time("trainTime"), tells_of_time("beta")
    (True, True, False)
    """
    return _VOLATILE.search(_CAMEL.sub("_", name).lower()) is not None
