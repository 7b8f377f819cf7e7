"""A training with the Trainer of Hugging Face, resumed by its own checkpoints."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

torch.set_num_threads(1)
torch.manual_seed(0)
config = GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2)
model = GPT2LMHeadModel(config)
tokens = torch.randint(0, 32, (48, 12), generator=torch.Generator().manual_seed(1))
data = [{"input_ids": row, "labels": row} for row in tokens]
arguments = TrainingArguments(
    "out",
    per_device_train_batch_size=4,
    max_steps=24,
    save_steps=6,
    logging_steps=1,
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
    seed=0,
)
last = get_last_checkpoint("out") if os.path.isdir("out") else None
Trainer(model, arguments, train_dataset=data).train(resume_from_checkpoint=last)
