"""Tensors over a file that is mapped for reading only: writing there would end the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from absent import required
from holdfast.errors import Mismatch

torch = required("torch")
pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
nn = torch.nn


@pytest.fixture
def mapped(tmp_path: Path) -> Any:
    """100 times 7.0, in a file that is mapped for reading."""
    np.full(100, 7, np.float32).tofile(tmp_path / "file")
    return torch.from_numpy(np.memmap(tmp_path / "file", np.float32, mode="r"))


@pytest.mark.parametrize("lay", [lambda t: t, lambda t: t.view(20, 5).t()], ids=["dense", "turned"])
def test_another_tensor_takes_its_place(
    store_path: Path, mapped: Any, lay: Callable[[Any], Any]
) -> None:
    target = lay(mapped)
    holdfast.save(store_path, {"w": torch.ones_like(target)}, run="r", step=1)
    state = {"w": target}
    holdfast.load(store_path, "r@1", into=state)
    assert state["w"].eq(1).all() and mapped.eq(7).all()


def test_what_numpy_lets_be_written_is_filled_where_it_lies(store_path: Path) -> None:
    array = np.zeros(100, np.float32)
    holdfast.save(store_path, {"w": torch.ones(100)}, run="r", step=1)
    holdfast.load(store_path, "r@1", into={"w": torch.from_numpy(array)})
    assert (array == 1).all()


def with_a_hook(module: Any) -> Any:
    module.register_load_state_dict_post_hook(lambda *_: None)
    return module


def with_a_buffer(module: Any) -> Any:
    module.register_buffer("buffer", module.weight.detach())
    module.weight = nn.Parameter(module.weight.detach().clone())
    return module


def expanded(module: Any) -> Any:
    module.weight = nn.Parameter(module.weight.detach()[:, :1].expand(1, 100))
    return module


@pytest.mark.parametrize("make", [lambda m: m, with_a_hook, with_a_buffer, expanded])
def test_a_module_over_it_is_refused_and_nothing_has_changed(
    store_path: Path, mapped: Any, make: Callable[[Any], Any]
) -> None:
    def module(weight: Any) -> Any:
        made = nn.Linear(100, 1)
        made.weight = nn.Parameter(weight.view(1, 100))
        nn.init.constant_(made.bias, 3)
        return make(made)

    holdfast.save(store_path, {"m": module(torch.ones(100))}, run="r", step=1)
    model = module(mapped)
    nn.init.constant_(model.bias, 4)
    with pytest.raises(Mismatch, match=r"memory that can only be read.*Clone it"):
        holdfast.load(store_path, "r@1", into={"m": model})
    assert model.bias.item() == 4 and mapped.eq(7).all()


def test_moments_of_an_optimizer_move_out_of_it(store_path: Path, mapped: Any) -> None:
    def made() -> Any:
        weight = nn.Parameter(torch.zeros(100))
        optimizer = torch.optim.SGD([weight], lr=1, momentum=0.9)
        weight.grad = torch.ones(100)
        optimizer.step()
        return weight, optimizer

    _, saved = made()
    holdfast.save(store_path, {"o": saved}, run="r", step=1)
    weight, optimizer = made()
    optimizer.state[weight]["momentum_buffer"] = mapped
    holdfast.load(store_path, "r@1", into={"o": optimizer})
    assert optimizer.state[weight]["momentum_buffer"].eq(1).all() and mapped.eq(7).all()
