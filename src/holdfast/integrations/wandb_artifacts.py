"""Checkpoints as artifacts of Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import wandb

from holdfast.errors import UsageError
from holdfast.format.names import MARKER_KEY
from holdfast.integrations.tracked import POINTER, Tracked
from holdfast.integrations.tracker import Tracker, file_name


@final
class ArtifactLogger(Tracker):
    """Logs checkpoints as versions of an artifact of type ``model``.

    ::

        wandb.init(project="resnet")
        logger = ArtifactLogger(when=["best", "tagged"], best="val_loss", root="model")
        with Checkpointer(..., keep=keep.last(3), on_saved=logger) as ckpt:

    A version has the aliases ``latest``, ``step-STEP`` and its tags, and ``best`` if it is. Its
    metadata is what the checkpoint is: run, step, ref, metrics, the digest of its commit. It holds
    the exported file or folder, and a small file that says the same. Offline runs keep all that
    for ``wandb sync``.

    Args:
        run: What ``wandb.init`` returned; None: the run that is active when a checkpoint is saved.
        **how: As ``Tracker`` takes it: ``name``, ``format``, ``when``, ``best``, ``root``,
            ``only``, ``skip``, ``rename``, ``options``, ``scratch``.
    """

    def __init__(self, run: Any = None, **how: Any) -> None:
        super().__init__(**how)
        self._run = run

    def _log(self, tracked: Tracked, made: Path | None) -> None:
        run = self._run if self._run is not None else wandb.run
        if run is None:
            raise UsageError(
                f"{tracked.info.ref} was not logged: no run of Weights & Biases is active. Call "
                "wandb.init() before the first save, or give run=."
            )
        artifact = wandb.Artifact(
            self.model_name(tracked),
            type="model",
            description=f"{tracked.info.ref} of the holdfast store {tracked.store}",
            metadata=tracked.facts(),
        )
        # By it two checkpoints with the same weights are two versions.
        with artifact.new_file(POINTER, mode="w", encoding="utf-8") as file:
            file.write(tracked.pointer())
        if made is None:
            # Its marker stands for the store, of which a reference would list every object.
            # Nothing is read or copied: the store itself checks what is loaded from it.
            uri = f"{_uri(tracked.store)}/{MARKER_KEY}"
            artifact.add_reference(uri, name=f"store/{MARKER_KEY}", checksum=False)
        elif made.is_dir():
            artifact.add_dir(str(made), name=made.name, skip_cache=True)
        else:
            artifact.add_file(str(made), skip_cache=True)
        run.log_artifact(artifact, aliases=aliases(tracked))


def aliases(tracked: Tracked) -> list[str]:
    """Return the aliases of the version that is a checkpoint."""
    info = tracked.info
    best = ["best"] if tracked.is_best else []
    return list(dict.fromkeys(["latest", f"step-{info.step}", *best, *map(file_name, info.tags)]))


def _uri(store: str) -> str:
    return store.rstrip("/") if "://" in store else Path(store).absolute().as_uri()
