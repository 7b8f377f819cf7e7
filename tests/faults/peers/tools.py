"""How each tool saves a dict of arrays to a folder and loads it back, as its makers advise.

Each is made in a process of its own, of whichever interpreter has the tool.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Arrays = dict[str, np.ndarray]


class Tool(Protocol):
    """Saves arrays to a folder that is not there yet, and loads them."""

    def save(self, folder: Path, arrays: Arrays) -> None: ...

    def load(self, folder: Path) -> Arrays: ...


def state() -> Arrays:
    """Return 20 arrays, large and small, of numbers whose every bit matters."""
    source = np.random.Generator(np.random.PCG64(20))
    sizes = [4 << 10] * 8 + [512] * 6 + [7 + i for i in range(6)]
    return {f"leaf{i:02d}": source.random(n, np.float32) for i, n in enumerate(sizes)}


class Holdfast:
    """holdfast itself."""

    def save(self, folder: Path, arrays: Arrays) -> None:
        import holdfast

        holdfast.save(folder, dict(arrays), run="run", step=1, rng=False)

    def load(self, folder: Path) -> Arrays:
        import holdfast

        logging.getLogger("holdfast").setLevel(logging.CRITICAL)
        loaded: Arrays = holdfast.load(folder, "run@1")
        return loaded


class TorchSave:
    """`torch.save` to one file, `torch.load(weights_only=True)`."""

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def save(self, folder: Path, arrays: Arrays) -> None:
        folder.mkdir()
        tensors = {name: self._torch.from_numpy(array) for name, array in arrays.items()}
        self._torch.save(tensors, folder / "state.pt")

    def load(self, folder: Path) -> Arrays:
        found = self._torch.load(folder / "state.pt", weights_only=True)
        return {name: tensor.numpy() for name, tensor in found.items()}


class SafeTensors:
    """`save_file` and `load_file` of safetensors."""

    def __init__(self) -> None:
        import safetensors.numpy

        self._format = safetensors.numpy

    def save(self, folder: Path, arrays: Arrays) -> None:
        folder.mkdir()
        self._format.save_file(arrays, folder / "state.safetensors")

    def load(self, folder: Path) -> Arrays:
        found: Arrays = self._format.load_file(folder / "state.safetensors")
        return found


class Dcp:
    """PyTorch's distributed checkpoint, in one process."""

    def __init__(self) -> None:
        import torch
        import torch.distributed.checkpoint as dcp

        self._torch, self._dcp = torch, dcp

    def save(self, folder: Path, arrays: Arrays) -> None:
        tensors = {name: self._torch.from_numpy(array) for name, array in arrays.items()}
        self._dcp.save(tensors, checkpoint_id=folder, no_dist=True)

    def load(self, folder: Path) -> Arrays:
        into = {name: self._torch.zeros(len(array)) for name, array in state().items()}
        self._dcp.load(into, checkpoint_id=folder, no_dist=True)
        return {name: tensor.numpy() for name, tensor in into.items()}


class Orbax:
    """Orbax's `StandardCheckpointer`."""

    def __init__(self) -> None:
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._checkpointer: Any = ocp.StandardCheckpointer()

    def save(self, folder: Path, arrays: Arrays) -> None:
        self._checkpointer.save(folder, arrays)
        self._checkpointer.wait_until_finished()

    def load(self, folder: Path) -> Arrays:
        wanted = {name: np.zeros_like(array) for name, array in state().items()}
        found = self._checkpointer.restore(folder, wanted)
        return {name: np.asarray(array) for name, array in found.items()}


class TorchCheckpointing:
    """Meta's `torch_checkpointing`; direct I/O is off, which common file systems refuse."""

    def __init__(self) -> None:
        import torch
        from torch_checkpointing.checkpoint_manager import CheckpointManager
        from torch_checkpointing.storage.filesystem import LocalFileSystemStorageConfig

        self._torch = torch
        config = CheckpointManager.Config(
            storage_config=LocalFileSystemStorageConfig(use_direct_io=False)
        )
        self._manager: Any = CheckpointManager(config)

    def save(self, folder: Path, arrays: Arrays) -> None:
        tensors = {name: self._torch.from_numpy(array) for name, array in arrays.items()}
        future = self._manager.save(str(folder), {"state": tensors})
        if future is not None:
            future.result()

    def load(self, folder: Path) -> Arrays:
        into = {name: self._torch.zeros(len(array)) for name, array in state().items()}
        found = self._manager.load(str(folder), into={"state": into})["state"]
        return {name: tensor.numpy() for name, tensor in found.items()}


TOOLS: dict[str, tuple[str, Callable[[], Tool]]] = {
    # name: the module that must be there, and how to make it
    "holdfast": ("holdfast", Holdfast),
    "torch.save": ("torch", TorchSave),
    "PyTorch DCP": ("torch", Dcp),
    "safetensors": ("safetensors", SafeTensors),
    "Orbax": ("orbax.checkpoint", Orbax),
    "torch_checkpointing": ("torch_checkpointing", TorchCheckpointing),
}
