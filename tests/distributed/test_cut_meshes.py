"""Layers that lie on some dims of a mesh are the same along the others, and that is checked."""

from __future__ import annotations

from pathlib import Path

import torch

import holdfast
from distributed.launching import run


def test_what_a_cut_mesh_says_nothing_of_is_taken_for_copies_and_compared(tmp_path: Path) -> None:
    store = tmp_path / "ckpts"
    job = run("cut_meshes.py", 2, tmp_path / "logs", store)
    for rank in (0, 1):
        assert "restored\n" in job.said(rank)
        assert "'model/one.weight', rank 1: a replica that differs" in job.said(rank)
    # One process has it whole, and what several had is there once.
    expected = torch.load(store / "whole.pt", weights_only=True)
    tree = holdfast.load(store, "r@latest", only="model/**")["model"]
    assert tree.keys() == expected.keys()
    assert all(torch.equal(tree[name], tensor) for name, tensor in expected.items())
    assert [info.step for info in holdfast.Store(store).log("r")] == [1]
    sizes = [leaf.nbytes for leaf in holdfast.Store(store).leaves("r@1") if leaf.path[0] == "m"]
    own = holdfast.Store(store).info("r@1").state_bytes - sum(sizes)
    assert sum(sizes) == sum(t.nbytes for t in expected.values()) and own > 0
