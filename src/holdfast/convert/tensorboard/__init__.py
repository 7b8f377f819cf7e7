"""A run's metrics and marks as an event file of TensorBoard, written without TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from holdfast.convert.naming import Rename, parse_renames, renamed
from holdfast.convert.output import appearing
from holdfast.convert.tensorboard.marks import Mark, marks_of
from holdfast.errors import CannotConvert
from holdfast.foreign import event_files
from holdfast.history.info import CheckpointInfo
from holdfast.history.metrics import MetricsLog
from holdfast.policy.curve import Curve
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.state.paths import Patterns, selector

NAME = "tensorboard"
_MEMBERS = (f"{event_files.PREFIX}*",)


@dataclass(frozen=True, slots=True)
class MetricsReport:
    """What of a run was exported.

    Attributes:
        run: Its name.
        path: The folder, to be given to ``tensorboard --logdir``.
        files: The files in it.
        nbytes: Their size.
        names: The metrics, as they are called in TensorBoard.
        n_values: How many values they have together.
        n_marks: How many texts there are: checkpoints, starts, configurations.
    """

    run: str
    path: str
    files: tuple[str, ...]
    nbytes: int
    names: tuple[str, ...]
    n_values: int
    n_marks: int


def export_metrics(
    location: Location | Store,
    run: str,
    path: str | os.PathLike[str],
    *,
    only: Patterns = None,
    skip: Patterns = None,
    rename: Sequence[str] = (),
    overwrite: bool = False,
) -> MetricsReport:
    """Write a run's metrics and marks for TensorBoard; they are durable and read back on return.

    Metrics are those of every step that counts: where training went back, what it did again.
    Checkpoints with their tags and notes, resumes and configurations are texts at their steps.

    Args:
        location: Folder of the store, or a ``Store``.
        run: Name of the run.
        path: The folder to make; TensorBoard calls the run by it.
        only: Glob patterns on the names of metrics; only those that match are exported.
        skip: Glob patterns on names of metrics; those that match are not exported.
        rename: Rules ``PATTERN=REPLACEMENT`` for names, with regular expressions. TensorBoard
            groups names by what comes before a slash.
        overwrite: Replace what is at path.

    Raises:
        NotFound: There is no such run.
        CannotConvert: Two metrics would have one name.
        AlreadyExists: There is something at path.
        MissingDependency: The package ``crc32c`` is not installed.
    """
    rules = parse_renames(rename)
    store = Store(location)
    curves = _chosen(store.curves(run), only, skip, rules)
    checkpoints = store.log(run)
    marks = list(marks_of(checkpoints))
    steps = _Times(store.metrics(run), checkpoints)
    name = f"{event_files.PREFIX}{int(steps.first_s)}.holdfast"
    with appearing(Path(path), is_folder=True, overwrite=overwrite, members=_MEMBERS) as folder:
        nbytes = event_files.write(folder / name, _records(curves, marks, steps))
    n_values = sum(len(curve) for curve in curves.values())
    return MetricsReport(run, os.fspath(path), (name,), nbytes, tuple(curves), n_values, len(marks))


def _chosen(
    curves: Mapping[str, Curve], only: Patterns, skip: Patterns, rules: Sequence[Rename]
) -> dict[str, Curve]:
    chosen = selector(only, skip) or (lambda name: True)
    found: dict[str, Curve] = {}
    for metric, curve in curves.items():
        if not chosen(metric):
            continue
        name = renamed(metric, rules)
        if name in found:
            raise CannotConvert(
                f"Two metrics would both be called {name!r}. Nothing was written. Change the "
                "--rename rules.",
                name=name,
            )
        found[name] = curve
    return found


class _Times:
    """When each step was, in seconds since 1970: as it was logged, or as its checkpoint is."""

    def __init__(self, log: MetricsLog, checkpoints: Sequence[CheckpointInfo]) -> None:
        self._of_step = {info.step: info.created.timestamp() for info in checkpoints}
        logged = log.times.astype("int64") / 1e9
        rows = np.nonzero(log.counts)[0]
        self._of_step |= dict(zip(log.steps[rows].tolist(), logged[rows].tolist(), strict=True))
        self.first_s = min(self._of_step.values(), default=0.0)

    def __getitem__(self, step: int) -> float:
        return self._of_step.get(step, self.first_s)


def _records(curves: Mapping[str, Curve], marks: Sequence[Mark], times: _Times) -> Iterator[bytes]:
    """Yield the records of a file, by step."""
    yield event_files.beginning(times.first_s)
    at: dict[int, dict[str, float]] = {}
    for name, curve in curves.items():
        for step, value in zip(curve.steps, curve.values, strict=True):
            at.setdefault(step, {})[name] = value
    texts: dict[int, list[Mark]] = {}
    for mark in marks:
        texts.setdefault(mark.step, []).append(mark)
    for step in sorted(at.keys() | texts.keys()):
        if step in at:
            yield event_files.event(step, times[step], at[step], {})
        for mark in texts.get(step, ()):
            yield event_files.event(step, mark.time_s, {}, {mark.name: mark.text})
