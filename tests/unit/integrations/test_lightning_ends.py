"""Checkpoints made where something is still to come: validation, the end of an epoch, the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from absent import required

torch = required("torch")
lightning = required("lightning")

from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402

from holdfast.data import DataLoader  # noqa: E402
from holdfast.lightning import HoldfastCallback, HoldfastCheckpointIO  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
    pytest.mark.usefixtures("quiet_lightning"),
]

BATCHES = 4


class Killed(Exception):
    pass


class Model(lightning.LightningModule):  # type: ignore[misc]
    """Counts what is done, and is killed at the beginning of a step."""

    def __init__(self, killed_at: int) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout())
        self.killed_at = killed_at
        for name in ("trained", "validated", "epochs"):
            self.register_buffer(name, torch.tensor(0))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        if self.global_step == self.killed_at:
            raise Killed
        self.trained += 1
        return self.net(batch[:, None]).square().mean()

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        self.validated += 1
        self.log("val_loss", torch.rand(1).mean())

    def on_train_epoch_end(self) -> None:
        self.epochs += 1

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]


def fit(store: Path, killed_at: int = -1, *, checkpoint: dict[str, Any], **how: Any) -> Model:
    lightning.seed_everything(0, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[HoldfastCheckpointIO(store, run="r")],
        callbacks=[
            HoldfastCallback(),
            ModelCheckpoint(store / "files", save_last=True, **checkpoint),
        ],
        **how,
    )
    model = Model(killed_at)
    trainer.fit(
        model,
        DataLoader(torch.arange(8.0), batch_size=2, seed=0),
        torch.utils.data.DataLoader(torch.arange(3.0)),
        ckpt_path="last",
    )
    return model


EACH_STEP = {"every_n_train_steps": 1}
EACH_EPOCH = {"every_n_epochs": 1, "save_on_train_epoch_end": True}


@pytest.mark.parametrize(
    ("killed_at", "checkpoint", "how"),
    [
        pytest.param(BATCHES, EACH_STEP, {}, id="after the last batch"),
        pytest.param(BATCHES, EACH_STEP, {"limit_val_batches": 0}, id="without validation"),
        pytest.param(2 * BATCHES, EACH_STEP, {"check_val_every_n_epoch": 3}, id="validation later"),
        pytest.param(2, EACH_STEP, {"val_check_interval": 2}, id="validation within an epoch"),
        pytest.param(2 * BATCHES, EACH_EPOCH, {}, id="between two epochs"),
    ],
)
def test_what_was_to_come_is_done_once(
    tmp_path: Path, killed_at: int, checkpoint: dict[str, Any], how: dict[str, Any]
) -> None:
    steady = fit(tmp_path / "steady", checkpoint=checkpoint, **how)
    with pytest.raises(Killed):
        fit(tmp_path / "killed", killed_at, checkpoint=checkpoint, **how)
    resumed = fit(tmp_path / "killed", checkpoint=checkpoint, **how)
    wanted, found = steady.state_dict(), resumed.state_dict()
    assert {k: int(found[k]) for k in ("trained", "epochs", "validated")} == {
        k: int(wanted[k]) for k in ("trained", "epochs", "validated")
    }
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
