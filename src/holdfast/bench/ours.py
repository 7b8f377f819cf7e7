"""holdfast itself, behind the protocol of the peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import holdfast
from holdfast.bench.peers import Pending
from holdfast.bench.result import OURS, OURS_SEALED
from holdfast.bench.state import Tensors, as_training

_RUN = "bench"


class Holdfast:
    """One checkpointer in one store: the first `start` makes arena and persister, later ones reuse.

    Everything is as users get it: digests on, the commit durable, restore verified.

    Args:
        zero_stall: Save parameters and an optimizer by that mode. What is saved so is not loaded
            here.
        sealed: Save into an encrypted store.
    """

    def __init__(self, *, zero_stall: bool = False, sealed: bool = False) -> None:
        self.name = OURS_SEALED if sealed else OURS
        self._zero_stall = zero_stall
        self._keys = holdfast.keys.passphrase("of a benchmark") if sealed else None
        self._checkpointer: Any = None
        self._step = -1
        self.info: Any = None

    def open(self, tensors: Tensors, folder: Path) -> None:
        """Make the checkpointer, as a training script does before its first step."""
        saved = as_training(tensors) if self._zero_stall else {"state": tensors}
        self._checkpointer = holdfast.Checkpointer(
            holdfast.Store(folder, keys=self._keys),
            saved,
            run=_RUN,
            zero_stall=self._zero_stall,
        )

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Snapshot, and leave the rest to the persister."""
        if self._checkpointer is None:
            self.open(tensors, folder)
        self._step += 1
        handle = self._checkpointer.save(self._step)

        def wait() -> None:
            self.info = handle.wait()

        return Pending(wait=wait, done=lambda: handle.done)

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Restore the newest checkpoint in place, every chunk's checksum verified."""
        self._checkpointer.restore(f"{_RUN}@{self._step}")

    def load_alone(self, tensors: Tensors, folder: Path) -> None:
        """Do the same with ``holdfast.load``, which has no memory of a checkpointer to use."""
        self._load(tensors, folder, "fast")

    def load_full(self, tensors: Tensors, folder: Path) -> None:
        """Restore the newest checkpoint in place, every chunk's cryptographic digest verified."""
        self._load(tensors, folder, "full")

    def _load(self, tensors: Tensors, folder: Path, verify: str) -> None:
        ref = f"{_RUN}@{self._step}"
        holdfast.load(folder, ref, into={"state": tensors}, verify=verify)

    def close(self) -> None:
        """End the persister."""
        if self._checkpointer is not None:
            self._checkpointer.close()
            self._checkpointer = None
