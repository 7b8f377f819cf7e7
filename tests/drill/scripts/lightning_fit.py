"""A training with Lightning, resumed by its own checkpoints at the end of an epoch."""

import glob
import os
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

warnings.simplefilter("ignore")
torch.set_num_threads(1)
lightning.seed_everything(0, verbose=False)


class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )

    def training_step(self, batch, index):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)]


x = torch.randn(32, 4)
data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
trainer = lightning.Trainer(
    max_epochs=6,
    accelerator="cpu",
    logger=CSVLogger("logs"),
    log_every_n_steps=1,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[ModelCheckpoint("saved", filename="{epoch}", save_top_k=-1)],
)
found = sorted(glob.glob("saved/*.ckpt"), key=os.path.getmtime)
trainer.fit(Line(), torch.utils.data.DataLoader(data, 8), ckpt_path=found[-1] if found else None)
