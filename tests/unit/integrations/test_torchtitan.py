from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from absent import required

torch = required("torch")

from torch.distributed.checkpoint.api import CheckpointException  # noqa: E402

import holdfast  # noqa: E402
from holdfast.data import DataLoader  # noqa: E402
from holdfast.errors import UsageError  # noqa: E402
from holdfast.torchtitan import CheckpointManager, Generators  # noqa: E402


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class TrainState:
    """As torchtitan's."""

    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"step": torch.tensor(self.step)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.step = int(state["step"])


class Run:
    """A training in two parts, as a pipeline has them."""

    def __init__(self, store: Path, seed: int, **options: Any) -> None:
        torch.manual_seed(seed)
        self.first = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 4)})
        self.second = torch.nn.ModuleDict({"b": torch.nn.Linear(4, 1)})
        parts = [self.first, self.second]
        self.optimizers = [torch.optim.AdamW(p.parameters(), lr=0.1) for p in parts]
        self.loader = DataLoader(torch.arange(20.0), batch_size=2, seed=0)
        self.state = TrainState()
        self.manager = CheckpointManager(
            store,
            run="r",
            model_parts=parts,
            optimizers=self.optimizers,
            dataloader=self.loader,
            states={"train_state": self.state, "generators": Generators()},
            **{"interval": 4, "keep_latest_k": 2} | options,
        )

    def train(self, steps: int) -> Run:
        while self.state.step < steps:
            for batch in self.loader:
                hidden = torch.nn.functional.dropout(self.first["a"](batch[:, None]))
                self.second["b"](hidden).square().mean().backward()
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
                self.state.step += 1
                self.manager.maybe_wait_for_staging()
                self.manager.save(self.state.step, last_step=self.state.step == steps)
                if self.state.step == steps:
                    break
        self.manager.close()
        return self

    def weights(self) -> list[torch.Tensor]:
        return [p.detach() for part in (self.first, self.second) for p in part.parameters()]


@pytest.mark.parametrize("async_save", [True, False])
def test_it_goes_on_where_it_was(tmp_path: Path, async_save: bool) -> None:
    steady = Run(tmp_path / "steady", 0).train(30)
    first = Run(tmp_path / "store", 0, async_save=async_save)
    assert first.manager.load() is False
    first.train(18)
    assert [i.step for i in holdfast.Store(tmp_path / "store").log("r")] == [16, 18]
    second = Run(tmp_path / "store", 99, async_save=async_save)
    assert second.manager.load() is True and second.state.step == 18
    second.train(30)
    for ours, theirs in zip(second.weights(), steady.weights(), strict=True):
        assert torch.equal(ours, theirs)
    # A step by its number.
    third = Run(tmp_path / "steady", 5)
    assert third.manager.load(28) and third.state.step == 28


def test_some_of_it(tmp_path: Path) -> None:
    Run(tmp_path, 0).train(4)
    other = Run(tmp_path, 1, exclude_from_loading=["train_state", "generators"])
    assert other.manager.load() and other.state.step == 0
    with pytest.raises(CheckpointException):
        other.manager.load(77)
    with pytest.raises(UsageError, match="typo"):
        Run(tmp_path, 1, exclude_from_loading=["typo"])
    with pytest.raises(UsageError):
        Run(tmp_path, 1, interval=0)


def test_wrong_use_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path, 0)
    with pytest.raises(UsageError, match="2 model parts and 1 optimizers"):
        CheckpointManager(
            tmp_path, run="s", model_parts=[run.first, run.second], optimizers=run.optimizers[:1]
        )
    with pytest.raises(UsageError, match=r"\[model\]"):
        CheckpointManager(tmp_path, run="s", model_parts=run.first, optimizers=run.optimizers)
    same = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)]
    with pytest.raises(UsageError, match="Two model parts have a parameter 'weight'"):
        CheckpointManager(tmp_path, run="s", model_parts=same, optimizers=run.optimizers)
    with pytest.raises(UsageError, match="states= has 'model'"):
        CheckpointManager(
            tmp_path,
            run="s",
            model_parts=[run.first],
            optimizers=run.optimizers[:1],
            states={"model": run.first},
        )


def test_one_optimizer_that_is_in_no_list(tmp_path: Path) -> None:
    def made() -> tuple[CheckpointManager, torch.nn.Module, torch.optim.Optimizer]:
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.AdamW(model.parameters())
        manager = CheckpointManager(
            tmp_path, run="r", model_parts=[model], optimizers=optimizer, interval=1
        )
        return manager, model, optimizer

    manager, model, optimizer = made()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    manager.save(1)
    manager.close()
    other, _, its_optimizer = made()
    assert other.load()
    moments = [next(iter(o.state.values()))["exp_avg"] for o in (optimizer, its_optimizer)]
    assert torch.equal(*moments) and moments[0].any()
