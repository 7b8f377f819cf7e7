"""Lightning's ``fit``, killed at any moment, goes on where it was.

    python examples/lightning_fit.py --store ckpts --steps 400

Dropout, augmentation, shuffling, schedule, moving averages of weights and the best checkpoint are
as in a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.nn.functional import mse_loss

import holdfast
from holdfast.data import DataLoader
from holdfast.lightning import HoldfastCallback, HoldfastCheckpointIO


class Waves(torch.utils.data.Dataset):
    """Points of a wave; each time a point lies elsewhere."""

    def __init__(self, count: int, noise: float) -> None:
        self.count, self.noise = count, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.tensor([6.0 * index / self.count])
        return x + self.noise * torch.randn(1), torch.sin(x)


class Wave(lightning.LightningModule):
    """A small network with batch statistics, dropout."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(1, 32), torch.nn.BatchNorm1d(32), torch.nn.Tanh(),
            torch.nn.Dropout(0.05), torch.nn.Linear(32, 1),
        )  # fmt: skip

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        x, y = batch
        return mse_loss(self.net(x), y)

    def on_train_batch_end(self, outputs: dict[str, torch.Tensor], batch, index) -> None:
        if self.global_step % 10 == 0:
            loss = round(outputs["loss"].item(), 4)
            print(self.global_step, {"loss": loss}, flush=True)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        x, y = batch
        self.log("val_loss", mse_loss(self.net(x), y))

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-2)
        steps = self.hparams["steps"]
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="waves", help="name of the run")
    parser.add_argument("--steps", type=int, default=400, help="steps to train in all")
    args = parser.parse_args()

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    lightning.seed_everything(0, verbose=False)
    torch.set_num_threads(1)  # The network is too small for more to be of use.
    folder = Path(args.store) / "lightning" / args.run
    # It saves when validation is over: what it has found is in the checkpoint, too.
    best = ModelCheckpoint(
        folder, monitor="val_loss", save_top_k=2, save_last=True, save_on_train_epoch_end=False
    )
    trainer = lightning.Trainer(
        max_steps=args.steps, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, val_check_interval=20, check_val_every_n_epoch=None,
        plugins=[HoldfastCheckpointIO(args.store, run=args.run)],
        callbacks=[HoldfastCallback(), EMAWeightAveraging(decay=0.99), best],
    )  # fmt: skip
    if (folder / "last.ckpt").exists():
        newest = holdfast.Store(args.store).log(args.run)[-1]
        print(f"resumed from {newest.ref}", flush=True)
    trainer.fit(
        Wave(args.steps),
        DataLoader(Waves(1000, noise=0.05), batch_size=32, seed=0),
        torch.utils.data.DataLoader(Waves(100, noise=0.0), batch_size=50),
        ckpt_path="last",
    )
    holdfast.Store(args.store).tag(f"{args.run}@last", "final")
    print(f"done: {args.run}@final", flush=True)


if __name__ == "__main__":
    main()
