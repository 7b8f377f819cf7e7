"""The data loader of torchdata, by its own ``state_dict``: exact in the middle of an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from absent import required

torch = required("torch")
stateful = required("torchdata.stateful_dataloader")

from torchdata.stateful_dataloader.sampler import RandomSampler  # noqa: E402

import holdfast  # noqa: E402
from holdfast import Checkpointer, every  # noqa: E402

SAMPLES, BATCH = 40, 4


class Numbers(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        # Random augmentation, which the loader alone does not make repeatable: no part of this.
        return torch.tensor([index, index * index])


def loader(workers: int) -> Any:
    return stateful.StatefulDataLoader(
        Numbers(), batch_size=BATCH, shuffle=True, num_workers=workers
    )


def undisturbing(workers: int) -> Any:
    data = Numbers()
    order = RandomSampler(data, generator=torch.Generator().manual_seed(1))
    return stateful.StatefulDataLoader(
        data, batch_size=BATCH, sampler=order, num_workers=workers, generator=torch.Generator()
    )


def train(ckpt: Any, data: Any, seen: list[list[int]], until: int) -> None:
    step = ckpt.next_step
    while step < until:
        for batch in data:
            seen.append(batch[:, 0].tolist())
            ckpt.step(step)
            step += 1
            if step == until:
                return


@pytest.mark.parametrize("workers", [0, 2])
def test_it_goes_on_where_it_stopped(tmp_path: Path, workers: int) -> None:
    torch.manual_seed(3)
    whole: list[list[int]] = []
    with Checkpointer(
        tmp_path, {"loader": loader(workers)}, run="whole", save=every(steps=5)
    ) as ckpt:
        train(ckpt, ckpt._saving._what.state["loader"], whole, 17)
    for step in (5, 10, 15):
        torch.manual_seed(99)
        data, rest = loader(workers), []
        with Checkpointer(tmp_path, {"loader": data}, run=f"from {step}") as ckpt:
            assert ckpt.restore(f"whole@{step}") is not None
            train(ckpt, data, rest, 17)
        assert rest == whole[step + 1 :]


@pytest.mark.parametrize("workers", [0, 2])
def test_with_generators_of_its_own_the_models_draws_are_exact_too(
    tmp_path: Path, workers: int
) -> None:
    def draws(run: str, ref: str | None) -> list[float]:
        torch.manual_seed(3)
        data, found = undisturbing(workers), []
        with Checkpointer(tmp_path, {"loader": data}, run=run, save=every(steps=3)) as ckpt:
            if ref is not None:
                assert ckpt.restore(ref) is not None
            step = ckpt.next_step
            while step < 23:
                for batch in data:
                    found.append(float(torch.rand(1)) + float(batch.sum()))  # dropout, say
                    ckpt.step(step)
                    step += 1
        return found

    whole = draws("whole", None)
    # In the middle of an epoch, at the end of its last batch, and in the next.
    for step in (3, 9, 12, 18):
        assert draws(f"from {step}", f"whole@{step}") == whole[step + 1 :]


def test_its_state_is_plain(tmp_path: Path) -> None:
    data = loader(0)
    next(iter(data))
    holdfast.save(tmp_path, {"loader": data}, run="r", step=0)
    kinds = {leaf.kind for leaf in holdfast.Store(tmp_path).leaves("r@0")}
    assert kinds <= {"array", "int", "float", "bool", "str", "bytes", "none"}
