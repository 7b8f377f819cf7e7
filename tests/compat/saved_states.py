"""The states in the stores: a bit of everything that a state may be, and a small training run."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from in_words import described


class Phase(enum.Enum):
    WARM_UP = 1
    DECAY = 2


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Settings:
    rate: float
    name: str


def everything(step: int) -> dict[str, Any]:
    """Return a state of arrays, containers and plain values; the frozen array never changes."""
    random = np.random.default_rng(step)
    return {
        "frozen": np.arange(500, dtype=np.int32),
        "weights": weights(step),
        "arrays": {
            "scalar": np.array(step, np.uint8),
            "empty": np.zeros((0, 3), np.float64),
            "complex": (random.random(3) + 1j).astype(np.complex64),
            "big_endian": np.arange(4, dtype=">i8"),
            "text": np.array(["kelp", "root"]),
            "special": np.array([np.nan, -0.0, np.inf], np.float16),
        },
        "plain": [None, True, step, -(1 << 90), 0.1, float("-inf"), 2j, "ölig", b"\0\xff"],
        "containers": collections.OrderedDict(tuple=(1, (2,)), point=Point(1, 0.5), empty={}),
        "settings": Settings(1e-3, "adam"),
        "phase": Phase.DECAY,
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
        "where": Path("data/train"),
        "keys": {7: "no text", 0.5: "half", None: "nothing"},
    }


def weights(step: int) -> np.ndarray[Any, Any]:
    """Return weights that move a little with each step, as bits of bfloat16."""
    drift = np.random.default_rng(99).standard_normal(2000) * 1e-4 * step
    values = (np.random.default_rng(5).standard_normal(2000) * 0.02 + drift).astype(np.float32)
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def training() -> dict[str, Any]:
    """Return the objects of a training run that has not begun."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    low = torch.nn.Parameter(torch.linspace(-1, 1, 10).to(torch.bfloat16))
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "low": {"low": low}}


def train(objects: dict[str, Any]) -> float:
    """Take one step, and return the loss."""
    x = torch.randn(16, 4)
    loss = ((objects["model"](x) - x.sum(1, keepdim=True)) ** 2).mean()
    objects["optimizer"].zero_grad()
    loss.backward()
    objects["optimizer"].step()
    objects["scheduler"].step()
    return loss.item()


def state_of(objects: dict[str, Any]) -> dict[str, Any]:
    """Return what the objects of a training run hold, as plain containers."""
    return {
        name: value.state_dict() if hasattr(value, "state_dict") else value
        for name, value in objects.items()
    }


def generator() -> str:
    """Return in words where PyTorch's generator stands."""
    return described(torch.get_rng_state())[""]
