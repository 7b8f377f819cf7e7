"""Ranks of torch.distributed, by a group of their own on the CPU, whatever trains the model."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

from holdfast.errors import EnvironmentTrouble

PATIENCE = timedelta(seconds=120)


def is_torch_distributed() -> bool:
    """Say whether this process is one of several of torch.distributed; imports nothing."""
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return False
    return int(dist.get_world_size()) > 1


class TorchGroup:
    """A gloo group of all ranks; to make one, every rank must.

    Raises:
        EnvironmentTrouble: Not every rank has come.
    """

    def __init__(self) -> None:
        import torch.distributed as dist

        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self._notices: Any = None
        try:
            self._group = dist.new_group(backend="gloo", timeout=PATIENCE)
            dist.monitored_barrier(self._group, timeout=PATIENCE)
        except RuntimeError as error:
            raise EnvironmentTrouble(
                f"Rank {self.rank} of {self.world_size} waited in vain for the others: {error}. A "
                "Checkpointer is made by every rank; one that saves by itself is told so: "
                "ranks=None."
            ) from error

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value on every rank."""
        import torch
        import torch.distributed as dist

        data = json.dumps(value).encode() if self.rank == 0 else b""
        size = torch.tensor([len(data)])
        dist.broadcast(size, src=0, group=self._group)
        content = torch.zeros(int(size), dtype=torch.uint8)
        if self.rank == 0:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(content, src=0, group=self._group)
        return json.loads(bytes(content.tolist()))

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks on every rank."""
        import torch
        import torch.distributed as dist

        data = json.dumps(value).encode()
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(data)]), group=self._group)
        room = int(max(sizes))
        mine = torch.frombuffer(bytearray(data.ljust(room)), dtype=torch.uint8)
        found = [torch.zeros(room, dtype=torch.uint8) for _ in range(self.world_size)]
        dist.all_gather(found, mine, group=self._group)
        return [json.loads(bytes(content.tolist())) for content in found]

    def post(self, key: str, value: str) -> None:
        """Write a value under a key of the store by which the processes found together."""
        self._notice_store().set(key, value)

    def peek(self, key: str) -> str | None:
        """Return what is under a key; None where nothing is yet."""
        store = self._notice_store()
        return store.get(key).decode() if store.check([key]) else None

    def _notice_store(self) -> Any:
        # A connection of its own: who waits in the store holds up all others on the same one.
        if self._notices is None:
            from torch.distributed import distributed_c10d as c10d

            self._notices = c10d._get_default_store().clone()
        return self._notices
