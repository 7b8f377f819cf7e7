from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from damaged_packs import damage

from absent import required

torch = required("torch")
lightning = required("lightning")

from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402

import holdfast  # noqa: E402
from holdfast.data import DataLoader  # noqa: E402
from holdfast.errors import ChunkMissing, ManifestDamaged, NotFound, UsageError  # noqa: E402
from holdfast.lightning import HoldfastCallback, HoldfastCheckpointIO  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("quiet_lightning"),
]


class Model(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(1, width), torch.nn.Dropout(), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return self.net(batch[:, None]).square().mean()

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        # It draws: training shall not see it.
        self.log("val_loss", torch.rand(1).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1)


def fit(store: Path, steps: int, **kwargs: Any) -> Model:
    lightning.seed_everything(kwargs.pop("seed", 0), verbose=False)
    checkpoint = kwargs.pop("checkpoint", None) or ModelCheckpoint(
        store / "files", every_n_train_steps=1, save_top_k=0, save_last=True
    )
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[HoldfastCheckpointIO(store, run="r")],
        callbacks=[HoldfastCallback(), checkpoint],
        val_check_interval=3,
        check_val_every_n_epoch=None,
    )
    model = Model()
    trainer.fit(
        model,
        DataLoader(torch.arange(20.0), batch_size=2, seed=0),
        torch.utils.data.DataLoader(torch.arange(4.0)),
        ckpt_path=kwargs.pop("ckpt_path", "last"),
    )
    return model


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return fit(tmp_path_factory.mktemp("steady"), 25)


# In an epoch, after a validation, at the end of an epoch, in a later one.
@pytest.mark.parametrize("step", [4, 6, 10, 17])
def test_last_goes_on_where_it_was(tmp_path: Path, steady: Model, step: int) -> None:
    fit(tmp_path, step)
    resumed = fit(tmp_path, 25, seed=99)
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(steady), strict=True))
    newest = holdfast.Store(tmp_path).log("r")[-1]
    assert newest.step == 25 and newest.tags == ("last",)
    assert holdfast.load(tmp_path, "r@last")["lightning"]["hyper_parameters"] == {"width": 4}


def test_model_checkpoint_keeps_what_it_wants(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path / "files", monitor="val_loss", save_top_k=2)
    fit(tmp_path, 18, checkpoint=checkpoint)
    files = sorted(p.stem for p in (tmp_path / "files").iterdir())
    store = holdfast.Store(tmp_path)
    assert len(files) == 2
    assert sorted(tag for info in store.log("r") for tag in info.tags) == files
    # The newest two stay besides; the very newest is always among the best when it is saved.
    newest = store.log("r")[-2:]
    assert all(info.tags or info in newest for info in store.log("r"))
    assert len(store.log("r")) <= 3
    best = Path(checkpoint.best_model_path)
    found = HoldfastCheckpointIO(tmp_path, run="other").load_checkpoint(best)
    assert found["global_step"] == store.info(f"r@{best.stem}").step


def test_a_damaged_last_is_stepped_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(tmp_path, 6)
    damage(tmp_path, "r", 6)
    own = HoldfastCheckpointIO(tmp_path, run="r")
    loaded = own.load_checkpoint(tmp_path / "files/last.ckpt")
    own.teardown()
    assert loaded["global_step"] == 5 and "was stepped over" in caplog.text


def test_files_that_are_not_ours_or_not_there(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    torch.save({"global_step": 3}, tmp_path / "lightning.ckpt")
    assert own.load_checkpoint(tmp_path / "lightning.ckpt") == {"global_step": 3}
    own.remove_checkpoint(tmp_path / "lightning.ckpt")
    assert not (tmp_path / "lightning.ckpt").exists()
    own.remove_checkpoint(tmp_path / "lightning.ckpt")
    with pytest.raises(NotFound):
        own.load_checkpoint(tmp_path / "lightning.ckpt")
    (tmp_path / "half.ckpt").write_text('{"kind": "holdfast-checkpoint", "run"')
    with pytest.raises(ManifestDamaged):
        own.load_checkpoint(tmp_path / "half.ckpt")


def test_only_last_means_the_newest(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    for step, name in enumerate(["last_of_warmup", "last", "last-v1", "final"]):
        own.save_checkpoint({"global_step": step}, tmp_path / f"{name}.ckpt")
    own.teardown()
    found = [
        own.load_checkpoint(tmp_path / f"{name}.ckpt")["global_step"]
        for name in ("last_of_warmup", "last", "last-v1")
    ]
    own.teardown()
    assert found == [0, 3, 3]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keep": None}, "takes no keep=: ModelCheckpoint decides"),
        ({"nicer": 3}, "HoldfastCheckpointIO takes no nicer="),
        ({"run": ""}, "run"),
    ],
)
def test_wrong_use_is_told_before_the_first_save(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        HoldfastCheckpointIO(tmp_path, **{"run": "r"} | options)


def test_a_name_that_another_folder_took_is_told(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    for folder, step in (("a", 1), ("b", 2)):
        own.save_checkpoint({"global_step": step}, tmp_path / folder / "x.ckpt")
    own.teardown()
    assert own.load_checkpoint(tmp_path / "b/x.ckpt")["global_step"] == 2
    with pytest.raises(ChunkMissing, match="given to another"):
        own.load_checkpoint(tmp_path / "a/x.ckpt")


def test_the_file_appears_when_the_checkpoint_is_durable(tmp_path: Path) -> None:
    own = HoldfastCheckpointIO(tmp_path, run="r")
    own.save_checkpoint({"global_step": 1, "w": torch.ones(3)}, tmp_path / "first.ckpt")
    own.save_checkpoint({"global_step": 2, "w": torch.zeros(3)}, tmp_path / "second.ckpt")
    own.remove_checkpoint(tmp_path / "first.ckpt")
    own.teardown()
    assert not (tmp_path / "first.ckpt").exists()
    assert own.load_checkpoint(tmp_path / "second.ckpt")["global_step"] == 2


_SECOND = """
import sys
import torch
import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from holdfast.data import DataLoader
from holdfast.lightning import HoldfastCallback, HoldfastCheckpointIO

class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        return self.linear(batch).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

for steps in (4, 8):
    trainer = pl.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, plugins=[HoldfastCheckpointIO("ckpts", run="line")],
        callbacks=[
            HoldfastCallback(), ModelCheckpoint("files", every_n_train_steps=4, save_last=True)
        ],
    )
    trainer.fit(Line(), DataLoader(torch.ones(32, 1), batch_size=4, seed=0), ckpt_path="last")
    print("steps", trainer.global_step)
print("lightning" in sys.modules)
"""


def test_a_script_of_the_other_package_of_lightning(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_lightning")
    ended = subprocess.run(
        [sys.executable, "-c", _SECOND], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split("\n")[:3] == ["steps 4", "steps 8", "False"], ended.stderr
    assert holdfast.Store(tmp_path / "ckpts").info("line@last").step == 8
