"""Hugging Face's Trainer, killed at any moment, goes on where it was.

    python examples/huggingface_trainer.py --store ckpts --steps 300

A small BERT learns to tell which of two words comes first. Dropout, shuffling, augmentation, the
schedule and early stopping are as in a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from holdfast import every, keep
from holdfast.data import SeededDataset
from holdfast.huggingface import HoldfastCallback

WORDS = 50


class WhichIsFirst(torch.utils.data.Dataset):
    """Two words among others; some of the others are masked, by chance, each time."""

    def __init__(self, count: int, *, augment: bool) -> None:
        self.count, self.augment = count, augment

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = torch.arange(8) * (index + 3) % (WORDS - 4) + 4
        label = index % 2
        words[2], words[5] = (2, 3) if label else (3, 2)
        if self.augment:
            words[torch.rand(8) < 0.1] = 1
        return {"input_ids": words, "labels": torch.tensor(label)}


class Say(TrainerCallback):
    """Prints the loss."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in (logs or {}):
            print(state.global_step, {"loss": round(logs["loss"], 4)}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="ckpts", help="folder of the checkpoints")
    parser.add_argument("--run", default="first-word", help="name of the run")
    parser.add_argument("--steps", type=int, default=300, help="updates to do in all")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    args = parser.parse_args()

    set_seed(0)
    torch.set_num_threads(1)  # The network is too small for more to be of use.
    config = BertConfig(
        vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=8,
    )  # fmt: skip
    holdfast_callback = HoldfastCallback(
        args.store, run=args.run, save=every(steps=20), keep=keep.last(3), final_tag="final"
    )
    with tempfile.TemporaryDirectory() as output:  # Nothing in it is needed to go on.
        trainer = Trainer(
            BertForSequenceClassification(config),
            TrainingArguments(
                output_dir=output, max_steps=args.steps, per_device_train_batch_size=8,
                gradient_accumulation_steps=2, learning_rate=1e-3, lr_scheduler_type="cosine",
                warmup_steps=10, logging_steps=5, eval_strategy="steps", eval_steps=50,
                metric_for_best_model="eval_loss", save_strategy="no", report_to=[], use_cpu=True,
                disable_tqdm=True, dataloader_num_workers=args.workers,
            ),
            train_dataset=SeededDataset(WhichIsFirst(300, augment=True), seed=0),
            eval_dataset=WhichIsFirst(32, augment=False),
            callbacks=[holdfast_callback, EarlyStoppingCallback(early_stopping_patience=50), Say()],
        )  # fmt: skip
        folder = holdfast_callback.resume(trainer)
        if folder:
            print(f"resumed from {args.run}@{holdfast_callback.resumed_step}", flush=True)
        trainer.train(resume_from_checkpoint=folder)
    print(f"done: {args.run}@final", flush=True)


if __name__ == "__main__":
    main()
