from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from absent import required

torch = required("torch")
transformers = required("transformers")

from transformers import EarlyStoppingCallback, Trainer, TrainingArguments, set_seed  # noqa: E402

import holdfast  # noqa: E402
from holdfast import every  # noqa: E402
from holdfast.data import SeededDataset  # noqa: E402
from holdfast.errors import Mismatch, NotFound, UsageError  # noqa: E402
from holdfast.huggingface import HoldfastCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Noisy(torch.utils.data.Dataset):  # type: ignore[misc]
    """Numbers, another one each time."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": index / 40 + torch.rand(1)}


class Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(1, width), torch.nn.Dropout(), torch.nn.Linear(width, 1)
        )

    def forward(self, x: torch.Tensor, return_loss: bool = True) -> dict[str, torch.Tensor]:
        return {"loss": self.net(x).square().mean()}


class Run:
    """A Trainer of 5 updates an epoch."""

    def __init__(self, store: Path, output: Path, steps: int, *, seed: int = 0, **more: Any):
        set_seed(seed)
        model = more.pop("model", None) or Net()
        self.callback = HoldfastCallback(store, run="r", save=every(steps=1))
        self.trainer = Trainer(
            model,
            TrainingArguments(
                output_dir=str(output),
                max_steps=steps,
                per_device_train_batch_size=4,
                gradient_accumulation_steps=2,
                learning_rate=0.1,
                logging_steps=1,
                eval_strategy="steps",
                eval_steps=3,
                metric_for_best_model="eval_loss",
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                seed=7,
            ),
            train_dataset=SeededDataset(Noisy()),
            eval_dataset=SeededDataset(Noisy(), seed=1),
            callbacks=[self.callback, EarlyStoppingCallback(100)],
        )

    def train(self, ref: str | None = None) -> Run:
        folder = self.callback.resume(self.trainer, ref)
        self.trainer.train(resume_from_checkpoint=folder)
        return self


def weights(run: Run) -> list[torch.Tensor]:
    return list(run.trainer.model.state_dict().values())


def counter(run: Run) -> int:
    handler = run.trainer.callback_handler
    found = [c for c in handler.callbacks if isinstance(c, EarlyStoppingCallback)]
    return int(found[0].early_stopping_patience_counter)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    store = tmp_path_factory.mktemp("steady")
    return store, Run(store, store / "output", 12).train()


# In an epoch, after an evaluation, at the end of an epoch, in a later one.
@pytest.mark.parametrize("step", [2, 6, 10, 11])
def test_it_goes_on_where_it_was(tmp_path: Path, steady: tuple[Path, Run], step: int) -> None:
    store, reference = steady
    resumed = Run(store, tmp_path, 12, seed=99)
    resumed.train(f"r@{step}")
    for ours, theirs in zip(weights(resumed), weights(reference), strict=True):
        assert torch.equal(ours, theirs)
    assert counter(resumed) == counter(reference)
    logs, wanted = (
        [entry.get("loss", entry.get("eval_loss")) for entry in run.trainer.state.log_history[:-1]]
        for run in (resumed, reference)
    )
    assert logs == wanted
    # Nothing of what told the Trainer its place is left.
    assert not any(tmp_path.iterdir())


def test_what_is_logged_goes_with_the_checkpoints(steady: tuple[Path, Run]) -> None:
    info = holdfast.Store(steady[0]).info("r@3")
    assert {"loss", "eval_loss", "learning_rate"} <= info.metrics.keys()


def test_a_run_without_checkpoints_begins(tmp_path: Path) -> None:
    run = Run(tmp_path / "store", tmp_path / "output", 1)
    assert run.callback.resume(run.trainer) is None
    with pytest.raises(NotFound):
        run.callback.resume(run.trainer, "r@7")
    run.trainer.train()
    assert holdfast.Store(tmp_path / "store").log("r")[-1].step == 1


def test_what_does_not_fit_is_told_before_anything_changes(
    tmp_path: Path, steady: tuple[Path, Run]
) -> None:
    run = Run(steady[0], tmp_path, 12, model=Net(width=5))
    before = [tensor.clone() for tensor in weights(run)]
    with pytest.raises(Mismatch):
        run.callback.resume(run.trainer, "r@2")
    assert all(torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))


def test_a_callback_that_was_not_asked_to_resume_says_so(
    tmp_path: Path, steady: tuple[Path, Run]
) -> None:
    run = Run(tmp_path / "store", tmp_path / "output", 1)
    with pytest.raises(UsageError, match=r"callback\.resume"):
        run.trainer.train()
    run = Run(steady[0], tmp_path / "output", 1)
    run.callback.resume(run.trainer, "r@2")
    with pytest.raises(UsageError, match="begins at step 0"):
        run.trainer.train()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"nicer": 3}, "HoldfastCallback takes no nicer="),
        ({"final_tag": "latest"}, "'latest' cannot be a tag"),
        ({"run": ""}, "run"),
    ],
)
def test_wrong_use_is_told_before_training(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        HoldfastCallback(tmp_path, **{"run": "r", "save": every(steps=1)} | options)


class Fail(transformers.TrainerCallback):  # type: ignore[misc]
    """Raises at a step, once."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.step = -1
            raise RuntimeError("planned")


def test_what_an_error_has_ended_can_be_taken_up_by_the_same_objects(
    tmp_path: Path, steady: tuple[Path, Run]
) -> None:
    run = Run(tmp_path / "store", tmp_path / "output", 12)
    run.trainer.add_callback(Fail(7))
    with pytest.raises(RuntimeError, match="planned"):
        run.train()
    run.train()
    for ours, theirs in zip(weights(run), weights(steady[1]), strict=True):
        assert torch.equal(ours, theirs)


def test_a_folder_of_their_own_layout(tmp_path: Path) -> None:
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
    )
    set_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    holdfast.save(
        tmp_path / "store", {"model": model, "trainer": {"trainer_state": "{}"}}, run="gpt", step=1
    )
    other = Run(
        tmp_path / "store", tmp_path / "output", 1, model=transformers.GPT2LMHeadModel(config)
    )
    other.callback.export(other.trainer, "gpt@1", tmp_path / "folder")
    read = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "folder")
    words = torch.tensor([[1, 2, 3]])
    assert torch.equal(read.eval()(words).logits, model.eval()(words).logits)
    assert json.loads((tmp_path / "folder/trainer_state.json").read_text()) == {}
    with pytest.raises(UsageError, match="there already"):
        other.callback.export(other.trainer, "gpt@1", tmp_path / "folder")
