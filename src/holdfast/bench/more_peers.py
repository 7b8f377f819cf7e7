"""Peers that are measured only where somebody has installed them: Orbax, torch_checkpointing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from holdfast.bench import files
from holdfast.bench.peers import Pending
from holdfast.bench.state import Tensors, need_torch


class Orbax:
    """Orbax's asynchronous `StandardCheckpointer` on NumPy views of the tensors.

    Orbax syncs nothing by itself, so its files are synced when it says that it is done.
    """

    name = "orbax + fsync"

    def __init__(self) -> None:
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._torch = need_torch()
        self._checkpointer: Any = ocp.StandardCheckpointer()

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Begin an asynchronous save."""
        # Slashes are its own separators, so names get others.
        tree = {_plain(name): tensor.numpy() for name, tensor in tensors.items()}
        self._checkpointer.save(folder.resolve(), tree)

        def wait() -> None:
            self._checkpointer.wait_until_finished()
            files.sync_tree(folder)

        return Pending(wait=wait, done=lambda: False)

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Restore to new arrays, then copy: it has no way to restore in place."""
        wanted = {_plain(name): tensor.numpy() for name, tensor in tensors.items()}
        loaded = self._checkpointer.restore(folder.resolve(), wanted)
        for name, tensor in tensors.items():
            tensor.copy_(self._torch.from_numpy(loaded[_plain(name)]))

    def close(self) -> None:
        """End its threads."""
        self._checkpointer.close()


class TorchCheckpointing:
    """Meta's `torch_checkpointing`, asynchronous, with staging that needs no accelerator.

    Direct I/O is off, since its unaligned writes are refused by common file systems. It syncs
    nothing by itself, so its files are synced when it says that it is done.
    """

    name = "torch_checkpointing + fsync"

    def __init__(self) -> None:
        from torch_checkpointing.checkpoint_manager import CheckpointManager
        from torch_checkpointing.config import AsyncCheckpointSaverConfig
        from torch_checkpointing.staging import CheckpointStagerConfig
        from torch_checkpointing.storage.filesystem import LocalFileSystemStorageConfig

        staging = CheckpointStagerConfig(
            use_pinned_memory=False, use_async_staging=False, use_non_blocking_copy=False
        )
        self._manager: Any = CheckpointManager(
            CheckpointManager.Config(
                save=AsyncCheckpointSaverConfig(staging_config=staging),
                storage_config=LocalFileSystemStorageConfig(use_direct_io=False),
            )
        )

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Copy to shared memory and leave the writing to its process."""
        future = self._manager.save(str(folder), {"state": tensors})

        def wait() -> None:
            future.result()
            files.sync_tree(folder)

        return Pending(wait=wait, done=future.done)

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Load in place."""
        loaded = self._manager.load(str(folder), into={"state": tensors})["state"]
        for name, tensor in tensors.items():
            if loaded[name] is not tensor:
                tensor.copy_(loaded[name])

    def close(self) -> None:
        """End its process."""
        self._manager.close()


def _plain(name: str) -> str:
    return name.replace("/", "-")
