"""What a rank writes of PyTorch's modules that several ranks have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.testing._internal.distributed.fake_pg import FakeStore

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
    # They differ by nature: replicas that are compared are those of the parameters.
    sharing = Sharing(1, 3, Shares().writer_of, lambda path: False, 64, True)
    checked = flatten({"model": model}, sharing=sharing)
    assert checked.shared and len(checked.shared.replicas.array) == len(list(model.parameters()))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.Adagrad])
@pytest.mark.parametrize(
    ("n_layers", "n_used"), [(1, 1), (3, 2)], ids=["a rank without parameters", "one unused"]
)
def test_all_ranks_know_which_moments_a_sharded_optimizer_has(
    n_layers: int, n_used: int, kind: type[torch.optim.Optimizer]
) -> None:
    trees, written = [], set[str]()
    for rank in range(4):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=4)
        try:
            layers = [nn.Linear(2, 3, bias=i == 0) for i in range(n_layers)]
            params = [p for layer in layers for p in layer.parameters()]
            optimizer = ZeroRedundancyOptimizer(params, kind)
            # The first look is before the first step.
            before = taken({"o": optimizer}, rank, 4)
            sum(layer(torch.ones(2)).sum() for layer in layers[:n_used]).backward()
            optimizer.step()
            optimizer.zero_grad()
            after = taken({"o": optimizer}, rank, 4)
        finally:
            dist.destroy_process_group()
        trees.append([flat.shared and flat.shared.tree for flat in (before, after)])
        assert bool(paths(before)) <= (kind is torch.optim.Adagrad)
        assert not paths(after) & written
        written |= paths(after)
    assert all(tree == trees[0] for tree in trees)
    # Those of Adagrad are there before the first step.
    n = (n_layers if kind is torch.optim.Adagrad else n_used) + 1
    assert {path.split("/")[2] for path in written} == {str(i) for i in range(n)}
