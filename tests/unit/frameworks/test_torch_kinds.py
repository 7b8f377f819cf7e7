"""Objects of PyTorch that are to take the state of another kind of object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from absent import required

torch = required("torch")

import holdfast  # noqa: E402
from holdfast.errors import Mismatch  # noqa: E402

optim = torch.optim


def net() -> Any:
    return torch.nn.Linear(4, 6)


def stepped(make: Any, shape: tuple[int, int] = (4, 6)) -> Any:
    module = torch.nn.Linear(*shape)
    optimizer = make(module.parameters())
    module(torch.ones(2, shape[0])).sum().backward()
    optimizer.step()
    return optimizer


class Own(optim.Optimizer):  # type: ignore[misc]
    """An optimizer of somebody's own, with a moment of the parameter's shape."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].setdefault("moment", torch.zeros_like(p)).add_(p.grad)


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        (lambda: stepped(optim.Adam), lambda: stepped(optim.SGD)),
        (
            lambda: optim.lr_scheduler.StepLR(stepped(optim.SGD), 3),
            lambda: optim.lr_scheduler.ExponentialLR(stepped(optim.SGD), 0.9),
        ),
        (net, lambda: stepped(optim.Adam)),
        (lambda: stepped(Own, (4, 6)), lambda: stepped(Own, (6, 4))),
    ],
    ids=["Adam to SGD", "StepLR to ExponentialLR", "module to optimizer", "own, another shape"],
)
def test_another_kind_is_an_error(tmp_path: Path, saved: Any, wanted: Any) -> None:
    holdfast.save(tmp_path, {"x": saved()}, run="r", step=0)
    live = wanted()
    before = repr(live.state_dict())
    with pytest.raises(Mismatch, match="'x"):
        holdfast.load(tmp_path, "r@0", into={"x": live})
    assert repr(live.state_dict()) == before


def test_who_knows_better_says_so(tmp_path: Path) -> None:
    holdfast.save(tmp_path, {"x": stepped(optim.Adam)}, run="r", step=0)
    live = stepped(optim.AdamW)
    holdfast.load(tmp_path, "r@0", into={"x": live}, strict=False)


def test_modules_are_told_by_their_leaves(tmp_path: Path) -> None:
    class Renamed(torch.nn.Linear):  # type: ignore[misc]
        pass

    saved, live = net(), Renamed(4, 6)
    holdfast.save(tmp_path, {"x": saved}, run="r", step=0)
    holdfast.load(tmp_path, "r@0", into={"x": live})
    assert torch.equal(live.weight, saved.weight)


def test_a_module_whose_state_has_a_version(tmp_path: Path) -> None:
    class Versioned(torch.nn.Module):  # type: ignore[misc]
        _version = 2

        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(2))

        def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *more: Any) -> None:
            if meta.get("version", 1) < 2:
                state[f"{prefix}w"] = state[f"{prefix}w"] * 10
            super()._load_from_state_dict(state, prefix, meta, *more)

    holdfast.save(tmp_path, {"m": torch.nn.Sequential(Versioned())}, run="r", step=0)
    live = torch.nn.Sequential(Versioned())
    torch.nn.init.zeros_(live[0].w)
    holdfast.load(tmp_path, "r@0", into={"m": live})
    assert live[0].w.tolist() == [1.0, 1.0]
