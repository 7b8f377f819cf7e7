"""PyTorch's ShardedTensors, in which FSDP1 gives its state where it was made without a mesh."""

from __future__ import annotations

import sys
from typing import Any

import torch

from holdfast.format.boxes import Box
from holdfast.frameworks.torch_dtensors import is_distributed
from holdfast.state.sharding import Held, Piece, register_held


def is_sharded_tensor(value: object) -> bool:
    """Say whether a value is a ShardedTensor; where nobody has imported them there are none."""
    module = sys.modules.get("torch.distributed._shard.sharded_tensor")
    return module is not None and isinstance(value, module.ShardedTensor)


def held(value: Any, path: str) -> Held:
    """Return what this rank holds: its shards, each of which it holds alone."""
    # Its own size and dtype would do, and warn each time that it is deprecated.
    rank, known = torch.distributed.get_rank(), value.metadata()
    pieces = [
        Piece(
            Box(tuple(shard.metadata.shard_offsets), tuple(shard.metadata.shard_sizes)),
            shard.tensor.detach(),
            (rank,),
        )
        for shard in value.local_shards()
    ]
    like = pieces[0].value if pieces else torch.empty(0, dtype=known.tensor_properties.dtype)
    return Held(tuple(known.size), pieces, like)


register_held(is_sharded_tensor, held, is_distributed)
