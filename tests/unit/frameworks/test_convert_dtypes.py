"""Values of another dtype than what stands there, converted because somebody asked for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import holdfast
from absent import required
from holdfast.errors import Mismatch

torch = required("torch")


def small(dtype: torch.dtype, seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    model(torch.randn(5, 3, dtype=dtype)).sum().backward()
    optimizer.step()
    return model, optimizer


def save(path: Path, **state: object) -> None:
    holdfast.save(path, state, run="r", step=1, rng=False)


@pytest.mark.parametrize("to", [torch.bfloat16, torch.float64])
def test_a_model_and_its_optimizer(store_path: Path, to: torch.dtype) -> None:
    model, optimizer = small(torch.float32, 0)
    save(store_path, model=model, optimizer=optimizer)
    other, moments = small(to, 1)
    with pytest.raises(Mismatch):
        holdfast.load(store_path, "r@1", into={"model": other})
    told = holdfast.load(
        store_path, "r@1", into={"model": other, "optimizer": moments}, convert=True
    )
    for name, tensor in other.state_dict().items():
        wanted = model.state_dict()[name]
        assert tensor.dtype == (to if wanted.is_floating_point() else wanted.dtype)
        assert torch.equal(tensor, wanted.to(tensor.dtype))
    state, wanted_state = moments.state_dict()["state"], optimizer.state_dict()["state"]
    assert torch.equal(state[0]["exp_avg"], wanted_state[0]["exp_avg"].to(to))
    assert any("'model/0.weight': float32 to" in text for text in told.differences)


def test_a_module_with_hooks_of_its_own(store_path: Path) -> None:
    model, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).to(torch.float16)
    other.register_load_state_dict_post_hook(lambda *_: None)
    save(store_path, model=model)
    holdfast.load(store_path, "r@1", into={"model": other}, convert=True)
    assert torch.equal(other.weight, model.weight.to(torch.float16))


def test_arrays_by_themselves(store_path: Path) -> None:
    save(store_path, t=torch.arange(3), n=np.arange(3, dtype=np.float32))
    into = {"t": torch.zeros(3), "n": np.zeros(3)}
    tensor, array = into["t"], into["n"]
    holdfast.load(store_path, "r@1", into=into, convert=True)
    assert into["t"] is tensor and tensor.tolist() == [0.0, 1.0, 2.0]
    assert into["n"] is array and array.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("saved", "standing"),
    [
        (torch.ones(2), torch.zeros(2, dtype=torch.int64)),
        (torch.ones(2, dtype=torch.complex64), torch.zeros(2)),
        (np.ones(2), np.zeros(2, np.int64)),
        (torch.ones(2), torch.zeros(3)),
        (torch.ones(2, dtype=torch.float64), np.zeros(2, np.float32)),
    ],
)
def test_what_would_lose_its_meaning_is_refused(
    store_path: Path, saved: object, standing: object
) -> None:
    save(store_path, x=saved, y=torch.ones(2))
    into = {"x": standing, "y": torch.zeros(2)}
    with pytest.raises(Mismatch, match="'x'"):
        holdfast.load(store_path, "r@1", into=into, convert=True)
    assert not into["y"].any()
