"""A follower of a run that hands its checkpoints to a tracker of experiments.

Nothing of it is in the training loop: it is called in the thread of followers, and what takes work,
the export, is done by another process.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.convert import format_names
from holdfast.errors import UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history.info import CheckpointInfo
from holdfast.history.refs import read_ref
from holdfast.integrations.export_process import BUNDLE, export_elsewhere
from holdfast.integrations.tracked import Tracked, When, choice_of, tracked_of
from holdfast.repository import Store
from holdfast.state.paths import Patterns, check_patterns

REFERENCE = "reference"
# The name of the file says what it is; formats that are not here are folders.
_ENDINGS = {
    "safetensors": ".safetensors",
    "hdf5": ".h5",
    "keras": ".weights.h5",
    "torch": ".pt",
    "npz": ".npz",
    BUNDLE: ".holdfast",
}


class Tracker(ABC):
    """Given as ``on_saved=``, it logs checkpoints as they become durable.

    It can be called by hand as well, for one that was not logged: ``tracker(store.info(ref),
    store)``.

    Args:
        name: Name of the model; None: the run's.
        format: What it is logged as: a format of ``export``; ``bundle``, the whole checkpoint as
            one file that is a store; or ``reference``: where it is, and nothing is copied.
        when: Which checkpoints: ``every``, ``best``, ``tagged``, or several of them.
        best: The metric by which one is the best: ``val_loss``, or ``accuracy:max``.
        root: Path of the node below which names begin, such as ``model``.
        only: Glob patterns on leaf paths; only leaves that match are exported.
        skip: Glob patterns on leaf paths; leaves that match are not exported.
        rename: Rules for names, as ``export`` takes them.
        options: What the format can do besides.
        scratch: Folder for what is on its way; None: that of the system for temporary files.

    Raises:
        UsageError: An argument is not possible.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        format: str = "safetensors",
        when: When | Sequence[When] = "every",
        best: str | None = None,
        root: str | None = None,
        only: Patterns = None,
        skip: Patterns = None,
        rename: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
        scratch: str | os.PathLike[str] | None = None,
    ) -> None:
        known = [n for n in format_names() if n != "pickle"] + [BUNDLE, REFERENCE]
        if format not in known:
            raise UsageError(f"format= takes one of {', '.join(known)}, not {format!r}.")
        check_patterns(only, skip)
        part = {"root": root, "only": only, "skip": skip, "rename": rename, "options": options}
        given = {key: value for key, value in part.items() if value}
        if given and format in (BUNDLE, REFERENCE):
            raise UsageError(
                f"format={format!r} is the whole checkpoint as it is; it takes no "
                f"{next(iter(given))}=."
            )
        self._name = name
        self._format = format
        self._choice = choice_of(when, best)
        self._export_options = given
        self._scratch = scratch

    def __call__(self, info: CheckpointInfo, store: Store) -> None:
        """Log a checkpoint, if it is one of those to be logged.

        Raises:
            NotFound: It was removed meanwhile.
            HoldfastError: It cannot be exported.
        """
        # By its step: a save of the same step may have taken its place.
        now = store.info(info.ref)
        best = self._choice.best
        is_best = best is not None and _best_id(store, info.run, best) == now.id
        if not self._choice.takes(is_best=is_best, is_tagged=bool(now.tags)):
            return

        def with_record(record: CommitRecord) -> Tracked:
            return tracked_of(now, record, store.path, is_best)

        trust = store.place.authenticity.trust
        tracked = read_ref(store.place.open(), info.ref, with_record, trust)
        with tempfile.TemporaryDirectory(prefix="holdfast-", dir=self._scratch) as folder:
            self._log(tracked, self._made(tracked, store, Path(folder)))

    def _made(self, tracked: Tracked, store: Store, folder: Path) -> Path | None:
        """Return the checkpoint exported below a folder, or None for a reference."""
        if self._format == REFERENCE:
            return None
        stem = f"{file_name(tracked.info.run)}-{tracked.info.step}"
        path = folder / (stem + _ENDINGS.get(self._format, ""))
        export_elsewhere(
            store, tracked.info.ref, path, format=self._format, options=self._export_options
        )
        return path

    def model_name(self, tracked: Tracked) -> str:
        """Return the name that the model has in the tracker."""
        return file_name(self._name or tracked.info.run)

    @abstractmethod
    def _log(self, tracked: Tracked, made: Path | None) -> None:
        """Log a checkpoint, and what was made of it; that is removed afterwards."""


def _best_id(store: Store, run: str, metric: str) -> str | None:
    try:
        return store.info(f"{run}@best:{metric}").id
    except UsageError:
        # None has that metric yet, or all are passed over.
        return None


def file_name(name: str) -> str:
    """Return a name with what trackers and file systems do not take replaced by dashes.

    >>> file_name("gpt2/small: a")
    'gpt2-small-a'
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else " " for c in name)
    return "-".join(kept.split()) or "checkpoint"
