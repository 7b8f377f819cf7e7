from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from absent import needs_package, required

torch = required("torch")
needs_package("accelerate")

from accelerate import Accelerator  # noqa: E402
from accelerate.utils import DataLoaderConfiguration  # noqa: E402

import holdfast  # noqa: E402
from holdfast.accelerate import load_state, save_state, state_of  # noqa: E402
from holdfast.errors import UsageError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchdata")


class Counter:
    """An object of the user's own."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


class Run:
    """What a script prepares."""

    def __init__(self, *, models: int = 1, **config: Any) -> None:
        torch.manual_seed(0)
        config = {"use_seedable_sampler": True, "use_stateful_dataloader": True} | config
        self.accelerator = Accelerator(
            cpu=True, dataloader_config=DataLoaderConfiguration(**config)
        )
        self.counter = Counter()
        self.models = [
            self.accelerator.prepare(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout()))
            for _ in range(models)
        ]
        optimizer = torch.optim.AdamW(self.models[0].parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
        loader = torch.utils.data.DataLoader(torch.arange(20.0), batch_size=2, shuffle=True)
        self.optimizer, self.scheduler, self.loader = self.accelerator.prepare(
            optimizer, scheduler, loader
        )
        self.accelerator.register_for_checkpointing(self.counter)
        self.state = state_of(self.accelerator)
        self.seen: list[list[float]] = []

    def train(self, until: int) -> None:
        while len(self.seen) + self.begun_at < until:
            for batch in self.loader:
                self.accelerator.backward(self.models[0](batch[:, None]).sum())
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
                self.counter.count += 1
                self.seen.append(batch.tolist())
                if len(self.seen) + self.begun_at == until:
                    return

    begun_at = 0


# In an epoch, at its end (an epoch has ten batches), and in a later one.
@pytest.mark.parametrize("step", [4, 10, 17])
def test_a_run_goes_on_where_it_was(tmp_path: Path, step: int) -> None:
    steady = Run()
    steady.train(25)

    first = Run()
    first.train(step)
    info = save_state(first.accelerator, tmp_path, run="r", step=step, tag="here")
    assert info.ref == f"r@{step}"
    second = Run()
    torch.manual_seed(99)
    second.begun_at = step
    load_state(second.accelerator, tmp_path, "r@here")
    assert second.counter.count == step
    second.train(25)
    assert first.seen + second.seen == steady.seen
    for ours, theirs in zip(
        second.models[0].parameters(), steady.models[0].parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert second.scheduler.state_dict() == steady.scheduler.state_dict()


def test_several_of_a_kind_have_numbers_and_names_are_plain(tmp_path: Path) -> None:
    two = Run(models=2)
    save_state(two.accelerator, tmp_path, run="r", step=0)
    names = {leaf.path.split("/")[0] for leaf in holdfast.Store(tmp_path).leaves("r@0")}
    assert {"model_0", "model_1", "optimizer", "scheduler", "loader", "custom"} <= names
    # One model of it, without Accelerate.
    plain = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout())
    holdfast.load(tmp_path, "r@0", into={"model_1": plain})
    assert torch.equal(plain[0].weight, two.models[1][0].weight)


def test_an_order_that_nobody_can_find_again_is_refused() -> None:
    with pytest.raises(UsageError, match="use_seedable_sampler"):
        state_of(Run(use_seedable_sampler=False).accelerator)


def test_nothing_prepared() -> None:
    accelerator = Accelerator(cpu=True)
    with pytest.raises(UsageError, match="prepare"):
        state_of(accelerator)
