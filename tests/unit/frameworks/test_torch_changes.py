"""What is noticed of changes to PyTorch's objects between two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from absent import required

torch = required("torch")

from holdfast import frameworks  # noqa: E402
from holdfast.state.changes import mark  # noqa: E402

frameworks.activate()


def trained() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(()))
    return {"model": model, "optimizer": optimizer, "scaler": scaler, "loose": torch.zeros(5)}


def update_scale(state: dict[str, Any]) -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    sgd = torch.optim.SGD([parameter])
    state["scaler"].scale(parameter.sum() * float("inf")).backward()
    state["scaler"].step(sgd)
    state["scaler"].update()


def through_numpy(state: dict[str, Any]) -> None:
    view = state["loose"].numpy()
    view += 1


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "optimizer step": lambda s: s["optimizer"].step(),
    "forward in train mode": lambda s: s["model"](torch.randn(3, 4)),
    "in place": lambda s: s["loose"].add_(1),
    "through data": lambda s: s["model"][0].weight.data.mul_(2),
    "moment through data": lambda s: next(iter(s["optimizer"].state.values()))["exp_avg"].data.mul_(
        2
    ),
    "through numpy": through_numpy,
    "another tensor": lambda s: s.update(loose=torch.ones(5)),
    "the scale": update_scale,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name: str) -> None:
    state = trained()
    before = mark(state)
    assert mark(state) == before
    CHANGES[name](state)
    assert mark(state) != before


def test_looking_changes_nothing() -> None:
    state = trained()
    before = mark(state)
    state["model"].eval()
    with torch.no_grad():
        state["model"](torch.randn(3, 4))
    state["model"].state_dict(), state["optimizer"].state_dict()
    assert mark(state) == before


def test_tensors_without_memory_of_their_own_do_no_harm() -> None:
    odd = {
        "meta": torch.empty(3, device="meta"),
        "empty": torch.empty(0),
        "sparse": torch.eye(3).to_sparse(),
        "expanded": torch.ones(1).expand(5),
        "lazy": torch.nn.LazyLinear(3),
    }
    assert mark(odd) == mark(odd)


class Counting(torch.nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 2)
        self.count = 0

    def get_extra_state(self) -> Any:
        return {"count": self.count}

    def set_extra_state(self, state: Any) -> None:
        self.count = state["count"]


class Telling(torch.nn.Linear):
    def state_dict(self, *args: Any, **more: Any) -> Any:
        return {**super().state_dict(*args, **more), "told": self.told}


def test_extra_state_counts() -> None:
    model = torch.nn.Sequential(Counting())
    before = mark(model)
    assert mark(model) == before
    model[0].count += 1
    assert mark(model) != before


def test_a_state_dict_of_its_own_counts() -> None:
    model = Telling(2, 2)
    model.told = 1
    before = mark(model)
    assert mark(model) == before
    model.told = 2
    assert mark(model) != before


def test_a_state_dict_hook_counts() -> None:
    model, told = torch.nn.Linear(2, 2), [0]
    model.register_state_dict_post_hook(lambda module, state, *_: state.update(n=told[0]))
    before = mark(model)
    assert mark(model) == before
    told[0] += 1
    assert mark(model) != before


def test_the_groups_of_an_optimizer_count() -> None:
    optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)
    before = mark(optimizer)
    assert mark(optimizer) == before
    optimizer.param_groups[0]["lr"] *= 0.9
    assert mark(optimizer) != before


def test_plain_values_of_a_scaler_count() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = mark(scaler)
    assert mark(scaler) == before
    scaler.set_growth_factor(3.0)
    assert mark(scaler) != before


def test_tensors_without_a_counter_are_looked_at() -> None:
    with torch.inference_mode():
        value = torch.zeros(8)
    before = mark(value)
    assert mark(value) == before
    with torch.inference_mode():
        value += 1
    assert mark(value) != before
