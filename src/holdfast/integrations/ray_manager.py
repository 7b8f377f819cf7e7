"""A manager for the workers of Ray Train: they save together, and Ray is told where it is.

What Ray keeps, copies and hands back after a failure is a folder with one small file; the weights
go into the store only, once, each worker its share.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, final

import ray.train

from holdfast.checkpointer import Checkpointer
from holdfast.distributed.torch_group import is_torch_distributed
from holdfast.engine.handle import SaveHandle
from holdfast.errors import NotFound, UsageError
from holdfast.integrations import pointer_files
from holdfast.integrations.pointer_files import Pointer
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.restored import Restored

_FILE = "holdfast-checkpoint.json"


@final
class CheckpointManager:
    """Saves, reports and restores in the function that Ray Train's workers run.

    ::

        def train(config):
            ...
            options = {"save": every(steps=100), "keep": keep.last(3)}
            with CheckpointManager("/shared/ckpts", state, run="net", **options) as ckpt:
                ckpt.restore()
                for step in range(ckpt.next_step, config["steps"]):
                    ...
                    ckpt.step(step, metrics={"loss": loss.item()})

    Every worker makes one and calls the same methods. A checkpoint is reported once it is durable:
    when the next one is saved, or at the end; no worker waits for its own. After a failure training
    goes on from the newest good checkpoint of the run, be it newer than what was reported.

    Args:
        location: The store, where all workers reach it: an absolute path, a URL, or a ``Store``.
        state: As a ``Checkpointer`` takes it.
        run: Name of the run.
        **options: More arguments of the ``Checkpointer``: ``save``, ``keep``, ``per_rank``, …
            How many checkpoints stay, ``keep`` says, not Ray's ``CheckpointConfig``.

    Raises:
        UsageError: An argument is not possible; or there are several workers without a process
            group of PyTorch, as ``TorchTrainer`` makes one.
    """

    def __init__(
        self, location: Location | Store, state: dict[str, Any], *, run: str, **options: Any
    ) -> None:
        _require_shared(location)
        context = ray.train.get_context()
        if context.get_world_size() > 1 and not is_torch_distributed():
            raise UsageError(
                f"There are {context.get_world_size()} workers, and no process group of PyTorch by "
                "which they agree. Use TorchTrainer, or one worker. Nothing was saved."
            )
        self._is_first = context.get_world_rank() == 0
        self._run = run
        self._ckpt = Checkpointer(location, state, run=run, **options)
        self._unreported: tuple[SaveHandle, dict[str, Any]] | None = None

    @property
    def next_step(self) -> int:
        """The step to go on with."""
        return self._ckpt.next_step

    def restore(self) -> Restored | None:
        """Put the newest good checkpoint of the run into the state, on all workers the same.

        Where the run has none and Ray hands back a checkpoint of another run, that is taken.
        """
        restored = self._ckpt.restore()
        given = ray.train.get_checkpoint()
        if restored is not None or given is None:
            return restored
        return self._ckpt.restore(ref_of(given))

    def step(
        self, step: int, metrics: Mapping[str, Any] | None = None, epoch: float | None = None
    ) -> SaveHandle | None:
        """Tell that a step is done; saves if the policy says so, and reports what is durable."""
        handle = self._ckpt.step(step, metrics, epoch)
        if handle is not None:
            self._follow(handle, metrics)
        return handle

    def save(
        self, step: int, tag: str | None = None, metrics: Mapping[str, Any] | None = None
    ) -> SaveHandle:
        """Save now; every worker calls it at the same step."""
        handle = self._ckpt.save(step, tag=tag, metrics=metrics)
        self._follow(handle, metrics)
        return handle

    def close(self) -> None:
        """Wait for the saves under way, report them, and end."""
        self._report()
        self._ckpt.close()

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            # Reporting waits for the others, of whom one that has failed will never come.
            self._report()
        self._ckpt.__exit__(kind, error, traceback)

    def _follow(self, handle: SaveHandle, metrics: Mapping[str, Any] | None) -> None:
        # The one before: to wait for this one would hold training up.
        self._report()
        self._unreported = (handle, dict(metrics or {}))

    def _report(self) -> None:
        if self._unreported is None:
            return
        (handle, metrics), self._unreported = self._unreported, None
        handle.wait_ended()
        if handle.error is not None or not self._is_first:
            # Every worker reports as often as the others, whatever it has to say.
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
            pointer = Pointer(self._run, str(handle.step), handle.step, handle.id)
            pointer_files.write(Path(folder) / _FILE, pointer)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def ref_of(checkpoint: ray.train.Checkpoint) -> str:
    """Return the ref of the checkpoint that a checkpoint of Ray's stands for.

    ::

        result = trainer.fit()
        holdfast.load("/shared/ckpts", ref_of(result.checkpoint))

    Raises:
        NotFound: It stands for none: somebody else has made it.
    """
    with checkpoint.as_directory() as folder:
        try:
            pointer = pointer_files.read(Path(folder) / _FILE)
        except FileNotFoundError:
            pointer = None
    if pointer is None:
        raise NotFound(f"{checkpoint} is none that holdfast.ray has reported.")
    return f"{pointer.run}@{pointer.step}"


def _require_shared(location: Location | Store) -> None:
    if isinstance(location, Store) or not isinstance(location, str | os.PathLike):
        return
    path = os.fspath(location)
    if "://" not in path and not os.path.isabs(path):
        raise UsageError(
            f"{path!r} is another folder for each worker of Ray, which starts them "
            "in folders of their own. Give an absolute path that all of them reach, or a URL."
        )
