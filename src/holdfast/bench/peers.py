"""The other tools, each behind one protocol and set up as its makers advise."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.bench import files
from holdfast.bench.limits import cores
from holdfast.bench.result import (
    DCP,
    DCP_ASYNC,
    DCP_ASYNC_TUNED,
    DCP_TUNED,
    SAFETENSORS,
    TORCH,
    TORCH_MMAP,
)
from holdfast.bench.state import Tensors, need_torch


@dataclass(frozen=True, slots=True)
class Pending:
    """A save that was begun; synchronous tools hand out one that is already done."""

    wait: Callable[[], object] = lambda: None
    done: Callable[[], bool] = lambda: True


class Peer(Protocol):
    """One way to save tensors to a folder and to load them back."""

    name: str

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Begin a save; returns when the training loop may go on and change the tensors."""

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Load the last save of a folder into tensors that stand."""

    def close(self) -> None:
        """End threads and processes."""


class TorchSave:
    """`torch.save` to one file, then fsync; `torch.load`, then a copy as `load_state_dict` does."""

    def __init__(self, *, mmap: bool) -> None:
        self.name = TORCH_MMAP if mmap else TORCH
        self._mmap = mmap
        self._torch = need_torch()

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Save; done when it returns."""
        folder.mkdir()
        self._torch.save(tensors, folder / "state.pt")
        files.sync_tree(folder)
        return Pending()

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Load all of the file, then copy."""
        loaded = self._torch.load(folder / "state.pt", weights_only=True, mmap=self._mmap)
        _copy_into(tensors, loaded)

    def close(self) -> None:
        """Nothing to end."""


class SafeTensors:
    """`save_file`, then fsync; tensors taken from the mapped file one by one."""

    name = SAFETENSORS

    def __init__(self) -> None:
        import safetensors
        import safetensors.torch

        self._format, self._torch_format = safetensors, safetensors.torch

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Save; done when it returns."""
        folder.mkdir()
        self._torch_format.save_file(tensors, folder / "state.safetensors")
        files.sync_tree(folder)
        return Pending()

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Copy each tensor from the file."""
        with self._format.safe_open(folder / "state.safetensors", framework="pt") as file:
            for name, tensor in tensors.items():
                tensor.copy_(file.get_tensor(name))

    def close(self) -> None:
        """Nothing to end."""


class Dcp:
    """PyTorch distributed checkpoint in one process, files synced.

    As documented it writes with one thread; tuned, with one per core.
    """

    def __init__(self, *, tuned: bool) -> None:
        need_torch()
        import torch.distributed.checkpoint as dcp

        self.name = DCP_TUNED if tuned else DCP
        self._dcp = dcp
        self._threads = cores() if tuned else 1

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Save; done when it returns."""
        self._dcp.save(tensors, storage_writer=self.writer(folder), no_dist=True)
        files.sync(folder.parent)
        return Pending()

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Load in place."""
        self._dcp.load(tensors, checkpoint_id=folder, no_dist=True)

    def close(self) -> None:
        """Nothing to end."""

    def writer(self, folder: Path) -> Any:
        """Return what writes the files, with every file synced."""
        return self._dcp.FileSystemWriter(
            folder, sync_files=True, overwrite=True, thread_count=self._threads
        )


class DcpAsync:
    """`dcp.async_save`: a copy in memory, then `dcp.save` in a thread.

    Pinned memory is off, since there is no accelerator to copy from. As documented, each call makes
    its buffers anew and writes with one thread; tuned, the buffers are kept and every core writes.
    """

    def __init__(self, *, tuned: bool) -> None:
        self.name = DCP_ASYNC_TUNED if tuned else DCP_ASYNC
        self._base = Dcp(tuned=tuned)
        self._stager: Any = None
        if tuned:
            from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

            self._stager = DefaultStager(
                StagingOptions(
                    use_pinned_memory=False,
                    use_shared_memory=False,
                    use_async_staging=False,
                    use_non_blocking_copy=False,
                )
            )

    def start(self, tensors: Tensors, folder: Path) -> Pending:
        """Copy, and leave the writing to a thread."""
        from torch.distributed.checkpoint import async_save

        if self._stager is None:
            future = async_save(tensors, checkpoint_id=folder, no_dist=True)
        else:
            future = async_save(
                tensors,
                storage_writer=self._base.writer(folder),
                async_stager=self._stager,
                no_dist=True,
            )
        return Pending(wait=future.result, done=future.done)

    def load(self, tensors: Tensors, folder: Path) -> None:
        """Load in place, as any checkpoint of DCP."""
        self._base.load(tensors, folder)

    def close(self) -> None:
        """Give the kept buffers back."""
        if self._stager is not None:
            self._stager.close()


def installed() -> tuple[list[Peer], list[str]]:
    """Return the peers that are installed here, and a line about each that is not."""
    from holdfast.bench.more_peers import Orbax, TorchCheckpointing

    peers: list[Peer] = []
    for tuned in (False, True):
        peers += [TorchSave(mmap=tuned), Dcp(tuned=tuned), DcpAsync(tuned=tuned)]
    absent: list[str] = []
    optional: dict[str, Callable[[], Peer]] = {
        "safetensors": SafeTensors,
        "torch_checkpointing": TorchCheckpointing,
        "orbax.checkpoint": Orbax,
    }
    for module, make in optional.items():
        if not _importable(module):
            absent.append(f"{module}: not installed")
            continue
        try:
            peers.append(make())
        except Exception as error:  # A peer that is broken here must not stop the others.
            absent.append(f"{module}: {type(error).__name__}: {error}")
    return peers, absent


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _copy_into(tensors: Tensors, loaded: Tensors) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(loaded[name])
