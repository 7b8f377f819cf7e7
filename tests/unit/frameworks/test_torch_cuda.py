"""Tensors on a GPU: saved, restored in place, and moved to and from a machine without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from state_checks import assert_same

import holdfast
from absent import required

torch = required("torch")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def state(device: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(64, 64).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 64, device=device)).sum().backward()
    optimizer.step()
    turned = torch.arange(12.0, device=device).reshape(3, 4).T * seed
    return {"model": model, "optimizer": optimizer, "turned": turned, "tied": [turned]}


def tensors(tree: dict[str, Any]) -> list[Any]:
    moments = [t for s in tree["optimizer"].state.values() for t in s.values()]
    return [*tree["model"].state_dict().values(), *moments, tree["turned"]]


@pytest.mark.parametrize("saved_on", ["cpu", "cuda"])
@pytest.mark.parametrize("restored_on", ["cpu", "cuda"])
def test_state_goes_from_any_device_to_any(
    store_path: Path, saved_on: str, restored_on: str
) -> None:
    saved, other = state(saved_on, 1), state(restored_on, 2)
    holdfast.save(store_path, saved, run="r", step=1)
    before = tensors(other)
    holdfast.load(store_path, "r@1", into=other)
    assert_same([t.cpu() for t in tensors(other)], [t.cpu() for t in tensors(saved)])
    for t, old in zip(tensors(other), before, strict=True):
        assert t.device == old.device


def test_a_new_tree_is_on_the_cpu(store_path: Path) -> None:
    holdfast.save(store_path, {"t": torch.ones(3, device="cuda")}, run="r", step=1)
    assert holdfast.load(store_path, "r@1")["t"].device.type == "cpu"


def test_the_generators_of_the_gpu_go_on(store_path: Path) -> None:
    torch.rand(3, device="cuda")
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    expected = torch.rand(5, device="cuda")
    torch.cuda.manual_seed_all(9)
    holdfast.load(store_path, "r@1", rng=True)
    assert torch.equal(torch.rand(5, device="cuda"), expected)


def test_a_checkpointer_takes_the_state_before_the_next_kernel_changes_it(store_path: Path) -> None:
    t = torch.zeros(1 << 22, device="cuda")
    with holdfast.Checkpointer(store_path, {"t": t}, run="r") as ckpt:
        for step in range(3):
            t.fill_(step)
            ckpt.save(step)
            t.fill_(-1)
    for step in range(3):
        assert bool((holdfast.load(store_path, f"r@{step}")["t"] == step).all())
