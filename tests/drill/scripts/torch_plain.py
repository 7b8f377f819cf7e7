"""A training with plain PyTorch and torch.save that resumes exactly, unless a bug is planted.

``torch_plain.py [BUG]``. Bugs: rng, scheduler, loader, ema, moments, tied, best, step,
stale, anew, noise, never.
"""

import copy
import json
import os
import random
import sys

import numpy as np
import torch

BUG = sys.argv[1] if len(sys.argv) > 1 else ""
STEPS, BATCH, SAMPLES, EVERY = 40, 4, 44, 5
torch.set_num_threads(1)

if BUG != "noise":
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(16, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.drop = torch.nn.Dropout(0.2)
        self.head = torch.nn.Linear(8, 16, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.drop(self.norm(self.embed(tokens).mean(1))))


data = torch.from_numpy(np.random.default_rng(0).integers(0, 16, (SAMPLES, 5)))
model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.97**n)
ema = copy.deepcopy(model.state_dict())
best = float("inf")
step = epoch = at = 0
order = np.random.permutation(SAMPLES)
stale = {"norm.running_mean": model.norm.running_mean.clone()}


def cast(state):
    state = copy.deepcopy(state)
    for moments in state["state"].values():
        moments["exp_avg"] = moments["exp_avg"].to(torch.bfloat16).float()
    return state


def write(tree, name):
    torch.save(tree, f"{name}.tmp")
    os.replace(f"{name}.tmp", name)


def save():
    state = {
        "model": model.state_dict(),
        "optimizer": cast(optimizer.state_dict()) if BUG == "moments" else optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "ema": ema,
        "best_loss": best,
        "step": step,
        "loader": {"epoch": epoch, "at": at, "order": order},
        "rng": {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
        },
    }
    for bug, name in (("ema", "ema"), ("scheduler", "scheduler"), ("best", "best_loss")):
        if bug == BUG:
            del state[name]
    if BUG == "rng":
        del state["rng"]["numpy"]
    if BUG == "loader":
        del state["loader"]
    if BUG == "stale":
        state["model"] = {**model.state_dict(), **stale}
    if BUG == "tied":
        state["model"] = {n: t.clone() for n, t in model.state_dict().items()}
    if BUG != "never":
        write(state, "last.pt")


def restore():
    global best, step, epoch, at, order
    state = torch.load("last.pt", weights_only=False)
    if BUG == "tied":
        model.head.weight = torch.nn.Parameter(model.head.weight.detach().clone())
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if "scheduler" in state:
        scheduler.load_state_dict(state["scheduler"])
    if "ema" in state:
        ema.update(state["ema"])
    else:
        ema.update(copy.deepcopy(model.state_dict()))
    best = state.get("best_loss", float("inf"))
    step = state["step"] - (BUG == "step")
    rng = state["rng"]
    random.setstate(rng["python"])
    torch.set_rng_state(rng["torch"])
    if "numpy" in rng:
        np.random.set_state(rng["numpy"])
    if "loader" in state:
        epoch, at, order = (state["loader"][name] for name in ("epoch", "at", "order"))


if os.path.exists("last.pt") and BUG != "anew":
    restore()

while step < STEPS:
    if at >= SAMPLES:
        epoch, at, order = epoch + 1, 0, np.random.permutation(SAMPLES)
    batch = data[order[at : at + BATCH]]
    at += BATCH
    logits = model(batch)
    loss = torch.nn.functional.cross_entropy(logits, batch[:, 0])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                ema[name] = 0.9 * ema[name] + 0.1 * value
    step += 1
    if step % EVERY == 3:
        stale["norm.running_mean"] = model.norm.running_mean.clone()
    print(f"step {step} loss {loss.item():.9g}")
    with open("metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": step, "loss": loss.item()}) + "\n")
    # The first steps are the best, so that a resume which forgets that saves a worse one.
    score = loss.item() + step
    if score < best and step % EVERY == 2:
        best = score
        if BUG != "never":
            write({"model": model.state_dict(), "score": score}, "best.pt")
    if step % EVERY == 0:
        save()

save()
if BUG != "never":
    write(ema, "ema.pt")
