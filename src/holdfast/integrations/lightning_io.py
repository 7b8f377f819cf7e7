"""A ``CheckpointIO`` with which Lightning's checkpoints go into a holdfast store.

``ModelCheckpoint`` decides, as ever, when to save, what to keep and what is best. Where it wants a
file, there is a small one that names the checkpoint.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, final

from holdfast.checkpointer import Checkpointer
from holdfast.errors import ChunkMissing, NotFound, UsageError
from holdfast.format.names import check_run
from holdfast.integrations import pointer_files
from holdfast.integrations.arguments import check_options
from holdfast.integrations.lightning_files import LightningFiles
from holdfast.integrations.lightning_names import CheckpointIO, ModelCheckpoint, TorchCheckpointIO
from holdfast.oneshot import load
from holdfast.policy.keep import keep
from holdfast.records.opening import Location
from holdfast.repository import Store

_log = logging.getLogger("holdfast")
_KEY = "lightning"
# ModelCheckpoint's name for the newest, and with a version where that was there already.
_LAST = re.compile(re.escape(ModelCheckpoint.CHECKPOINT_NAME_LAST) + r"(-v\d+)?")
# Tagged ones stay besides: those that Lightning has files of.
_KEEP = keep.last(2)


class _Carrier:
    """The checkpoint on its way in or out, as an object with a state."""

    def __init__(self) -> None:
        self.checkpoint: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return self.checkpoint

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.checkpoint = state


@final
class HoldfastCheckpointIO(CheckpointIO):  # type: ignore[misc]
    """Saves Lightning's checkpoints into a run of a holdfast store.

    ::

        trainer = Trainer(
            plugins=[HoldfastCheckpointIO("ckpts", run="resnet")],
            callbacks=[HoldfastCallback(), ModelCheckpoint(save_last=True)],
        )
        trainer.fit(model, ckpt_path="last")

    Each file of Lightning's is a tag in the store: ``RUN@last``, ``RUN@epoch=1-step=500``. What
    ``last`` names is the newest checkpoint that verifies, whatever the file says.

    Args:
        location: Folder of the store, or a ``Store``.
        run: Name of the run; each training has its own.
        **options: Passed on to ``Checkpointer``: ``on_error``, ``in_flight``, ``nice``, …
    """

    def __init__(self, location: Location | Store, *, run: str, **options: Any) -> None:
        for name in ("save", "keep", "rng"):
            if name in options:
                raise UsageError(
                    f"HoldfastCheckpointIO takes no {name}=: ModelCheckpoint decides when to save "
                    "and what to keep, HoldfastCallback has the random numbers."
                )
        self._location = location
        self._run = check_run(run)
        self._options = check_options(options, "HoldfastCheckpointIO")
        self._carrier = _Carrier()
        self._ckpt: Checkpointer | None = None
        self._files = LightningFiles(location, self._run)

    # --- what Lightning calls ---

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint; returns once it is frozen."""
        if storage_options is not None:
            raise UsageError("HoldfastCheckpointIO takes no storage_options.")
        self._files.settle(wait=False)
        file, tag = Path(path), _tag_of(Path(path))
        step = int(checkpoint.get("global_step", 0))
        self._carrier.checkpoint = _plain(checkpoint)
        try:
            handle = self._checkpointer().save(step, tag=tag)
        finally:
            self._carrier.checkpoint = {}
        self._files.add(file, tag, handle)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint; its tensors are on the CPU. Files of Lightning's own load as ever.

        Raises:
            NotFound, ChunkMissing: There is no such checkpoint, or another has its name now.
            DataError: It is damaged; nothing was changed.
        """
        self._files.settle(wait=True)
        file = Path(path)
        try:
            pointer = pointer_files.read(file)
        except FileNotFoundError as error:
            raise NotFound(f"There is no checkpoint at {file}.", path=str(file)) from error
        if pointer is None:
            found: dict[str, Any] = TorchCheckpointIO().load_checkpoint(
                path, map_location, weights_only
            )
            return found
        if pointer.run == self._run and _LAST.fullmatch(file.stem):
            return self._load_newest(file.parent)
        store = Store(self._location)
        ref = f"{pointer.run}@{pointer.tag}"
        if store.info(ref).id != pointer.id:
            raise ChunkMissing(
                f"{file} names a checkpoint whose name {ref} was given to another since. Nothing "
                "was changed. Give each training a run of its own.",
                ref=ref,
            )
        loaded: dict[str, Any] = load(store, ref)[_KEY]
        return loaded

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, once all that was saved before is durable."""
        self._files.remove(Path(path))

    def catch_up(self) -> None:
        """Let the files of checkpoints that have become durable appear; never waits."""
        self._files.settle(wait=False)

    def teardown(self) -> None:
        """Wait until all is durable, and what Lightning has removed is gone."""
        self._files.settle(wait=True)
        if self._ckpt is not None:
            self._ckpt.close()
            self._ckpt = None
        self._files.prune_untagged(_KEEP)

    # --- how ---

    def _checkpointer(self) -> Checkpointer:
        if self._ckpt is None:
            self._ckpt = Checkpointer(
                self._location,
                {_KEY: self._carrier},
                run=self._run,
                rng=False,
                keep=_KEEP,
                # Lightning calls it on one rank only.
                ranks=None,
                **self._options,
            )
        return self._ckpt

    def _load_newest(self, folder: Path) -> dict[str, Any]:
        restored = self._checkpointer().restore()
        if restored is None:
            raise NotFound(f"Run {self._run!r} has no checkpoint.", run=self._run)
        _log.info("Lightning goes on from %s.", restored.ref)
        self._files.go_on_from(restored.info, folder)
        checkpoint, self._carrier.checkpoint = self._carrier.checkpoint, {}
        return checkpoint


def _tag_of(file: Path) -> str:
    tag = file.stem.replace("@", "-at-").strip()
    return f"ckpt-{tag}" if tag in ("latest", "best", "head") or tag.isdecimal() else tag


def _plain(value: Any) -> Any:
    """Return a tree with plain dicts in the place of Lightning's own kinds of dict."""
    if isinstance(value, dict):
        made = {key: _plain(child) for key, child in value.items()}
        return type(value)(made) if type(value).__name__ == "OrderedDict" else made
    if type(value) in (list, tuple):
        return type(value)(_plain(child) for child in value)
    return value
