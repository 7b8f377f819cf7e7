"""What a rank writes of PyTorch's modules that several ranks have."""

from __future__ import annotations

from typing import Any

from torch import nn

import holdfast.frameworks.torch_support  # noqa: F401 - registers PyTorch
from holdfast.plan.sharing import Shares
from holdfast.state.flatten import Flat, flatten
from holdfast.state.sharding import Sharing


def taken(state: dict[str, Any], rank: int, n_ranks: int = 3) -> Flat:
    """Return what a rank saves of a state; replicas of more than 64 bytes are cut."""
    sharing = Sharing(rank, n_ranks, Shares().writer_of, lambda path: False, 64)
    return flatten(state, sharing=sharing)


def paths(flat: Flat) -> set[str]:
    return {leaf.path for leaf in flat.leaves}


def test_batch_statistics_are_those_of_the_first_rank() -> None:
    model = nn.Sequential(nn.Linear(6, 50), nn.BatchNorm1d(50), nn.Linear(50, 50))
    first, *others = [taken({"model": model}, rank) for rank in range(3)]
    buffers = {f"model/{name}" for name, _ in model.named_buffers()}
    assert buffers <= paths(first)
    assert all(paths(other) and not paths(other) & buffers for other in others)
    assert all(other.shared and other.shared.tree == first.shared.tree for other in others)
