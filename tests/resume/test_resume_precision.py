"""Mixed precision with a scaler, averaged weights, compiled, parametrized and tied modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from absent import required

torch = required("torch")

import holdfast  # noqa: E402
from holdfast.data import DataLoader  # noqa: E402
from holdfast.demo.compare import compare  # noqa: E402

# Steps that the scaler skips are part of the test; schedulers warn of them.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")

STEPS = 14


class Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(9, 4)
        self.inner = torch.compile(
            torch.nn.Sequential(
                torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 4)),
                torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4)),
                torch.nn.BatchNorm1d(4),
                torch.nn.Dropout(0.2),
            ),
            backend="eager",
        )
        self.out = torch.nn.Linear(4, 9, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.inner(self.embed(x)))


class Training:
    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = Net()
        self.average = torch.optim.swa_utils.AveragedModel(
            self.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        self.warmup = torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.1, total_iters=5)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, patience=1)
        # It begins too high, backs off, and grows again: all of it is in the run.
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=3)
        self.loader = DataLoader(torch.arange(24) % 9, batch_size=4, seed=0)
        self.scales: list[float] = []
        self.state: dict[str, Any] = {
            name: value for name, value in vars(self).items() if name not in ("scales", "state")
        }

    def train(self, begin: int, end: int) -> None:
        step = begin
        while step < end:
            for batch in self.loader:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    scores = self.model(batch)
                loss = torch.nn.functional.cross_entropy(scores.float(), batch)
                self.optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.warmup.step()
                self.plateau.step(loss.item())
                self.average.update_parameters(self.model)
                self.scales.append(self.scaler.get_scale())
                step += 1
                if step == end:
                    return


@pytest.fixture(scope="module")
def steady() -> Training:
    training = Training(0)
    training.train(0, STEPS)
    return training


@pytest.mark.parametrize("step", [1, 5, 6, 9])
def test_it_goes_on_where_it_was(tmp_path: Path, steady: Training, step: int) -> None:
    first = Training(0)
    first.train(0, step)
    holdfast.save(tmp_path, first.state, run="r", step=step)
    second = Training(77)
    holdfast.load(tmp_path, f"r@{step}", into=second.state, rng=True)
    assert second.model.out.weight is second.model.embed.weight
    second.train(step, STEPS)
    assert first.scales + second.scales == steady.scales and len(set(steady.scales)) > 3
    for name in ("model", "average"):
        ours, theirs = (getattr(t, name).state_dict() for t in (second, steady))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for name in ("optimizer", "warmup", "plateau", "scaler"):
        ours, theirs = (getattr(t, name).state_dict() for t in (second, steady))
        assert compare(ours, theirs).differences == []
