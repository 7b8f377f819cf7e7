"""The files that Lightning sees: each points to a checkpoint, and follows it.

A pointer is written once its checkpoint is durable; what is removed is removed after all that was
saved before is durable: there is a whole checkpoint at every moment.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import final

from holdfast import actions
from holdfast.engine.handle import SaveHandle
from holdfast.errors import HoldfastError, ManifestDamaged, NotFound
from holdfast.history.info import CheckpointInfo
from holdfast.integrations import pointer_files, pointer_promises
from holdfast.integrations.lightning_names import TorchCheckpointIO
from holdfast.integrations.pointer_files import Pointer
from holdfast.integrations.pointer_promises import Promise
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.records.opening import Location
from holdfast.repository import Store

_log = logging.getLogger("holdfast")


@final
@dataclass(frozen=True, slots=True)
class _Late:
    """A file that is written once a save is durable; where it has no pointer, it is removed."""

    file: Path
    handle: SaveHandle | None
    pointer: Pointer | None = None


@final
class LightningFiles:
    """Writes and removes pointers to the checkpoints of a run, in the order they were asked for.

    Args:
        location: The store.
        run: Name of the run.
    """

    def __init__(self, location: Location | Store, run: str) -> None:
        self._location = location
        self._run = run
        self._late: deque[_Late] = deque()
        self._untagged: set[str] = set()

    def add(self, file: Path, tag: str, handle: SaveHandle) -> None:
        """Let a file point to a checkpoint once that is durable."""
        pointer = Pointer(self._run, tag, handle.step, handle.id)
        pointer_promises.write(file, Promise(pointer))
        self._late.append(_Late(file, handle, pointer))

    def remove(self, file: Path) -> None:
        """Remove a file, and the name of its checkpoint, once all saved before is durable."""
        newest = next((late.handle for late in reversed(self._late) if late.handle), None)
        if newest is not None and (pointer := self._said_by(file)) is not None:
            pointer_promises.write(file, Promise(pointer, removed_after=newest.id))
        self._late.append(_Late(file, newest))
        self.settle(wait=False)

    def settle(self, *, wait: bool) -> None:
        """Do what waits for saves to become durable, in order."""
        while self._late:
            late = self._late[0]
            if late.handle is not None and not late.handle.done and not wait:
                return
            self._late.popleft()
            self._do(late)
            if all(other.file != late.file for other in self._late):
                pointer_promises.forget(late.file)

    def go_on_from(self, newest: CheckpointInfo, folder: Path) -> None:
        """Do what a process that was killed had promised of the files in a folder.

        Only what it would have done itself, as what it waited for is durable, and what the
        checkpoint that is gone on from knows of, since it was not saved before.
        """
        promised = list(pointer_promises.left_in(folder))
        if not promised:
            return
        log = Store(self._location).log(self._run)
        durable = {info.id: info for info in log if info.seq <= newest.seq}
        for file, promise in promised:
            if promise.pointer.run != self._run:
                continue
            try:
                self._keep(file, promise, durable)
            except (HoldfastError, OSError) as error:
                # The checkpoint is there all the same; training may go on from it.
                _log.warning("%s was not brought up to date: %s", file, error)
            else:
                pointer_promises.forget(file)

    def prune_untagged(self, keep: KeepPolicy) -> None:
        """Remove the checkpoints that have lost their names here, and that a policy does not keep.

        Retention acts when something is saved: after the last save nobody else would.
        """
        ids, self._untagged = self._untagged, set()
        if not ids:
            return
        place = Store(self._location).place
        trust = place.authenticity.trust
        try:
            actions.prune(place.open(), self._run, keep, trust, dry_run=False, only_ids=ids)
        except HoldfastError as error:
            # The checkpoints are safe; old ones stay a little longer.
            _log.warning("Old checkpoints of %r were not removed: %s", self._run, error)

    # --- how ---

    def _said_by(self, file: Path) -> Pointer | None:
        for late in reversed(self._late):
            if late.file == file and late.pointer is not None:
                return late.pointer
        try:
            return pointer_files.read(file)
        except (OSError, ManifestDamaged):
            return None

    def _do(self, late: _Late) -> None:
        if late.pointer is not None and late.handle is not None:
            late.handle.wait()
            pointer_files.write(late.file, late.pointer)
        elif late.handle is None or late.handle.error is None:
            # What was to take its place is durable.
            self._remove(late.file)

    def _keep(self, file: Path, promise: Promise, durable: dict[str, CheckpointInfo]) -> None:
        pointer = promise.pointer
        said = self._said_by(file)
        if promise.removed_after in durable:
            if said == pointer:
                self._remove(file)
            elif said is None and not file.exists():
                self._untag(pointer)
        elif pointer.id in durable and pointer.tag in durable[pointer.id].tags:
            pointer_files.write(file, pointer)

    def _remove(self, file: Path) -> None:
        try:
            pointer = pointer_files.read(file)
        except FileNotFoundError:
            return
        if pointer is None:
            TorchCheckpointIO().remove_checkpoint(file)
            return
        # First what leads to it: a pointer to nothing would be an error, this is only litter.
        file.unlink()
        self._untag(pointer)

    def _untag(self, pointer: Pointer) -> None:
        store = Store(self._location)
        try:
            info = store.info(f"{pointer.run}@{pointer.tag}")
        except NotFound:
            return
        if info.id == pointer.id:
            store.untag(pointer.run, pointer.tag)
            if pointer.run == self._run:
                self._untagged.add(pointer.id)
