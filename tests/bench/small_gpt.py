"""A run to measure on: a small GPT learns the text of Python's own documentation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pydoc_data import topics
from typing import Any

import numpy as np
import torch
from torch import nn

CONTEXT, BATCH = 64, 4


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        x = x + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]
        found: torch.Tensor = x + self.mlp(self.second(x))
        return found


class Gpt(nn.Module):
    def __init__(self, n_symbols: int, width: int, layers: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(n_symbols, width)
        self.places = nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.head = nn.Linear(width, n_symbols)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        h = self.symbols(x) + self.places(torch.arange(CONTEXT))
        for block in self.blocks:
            h = block(h, mask)
        found: torch.Tensor = self.head(h)
        return found


@dataclass
class Run:
    """A run after some steps: what it trains, the weights one step ago, the loss."""

    model: Gpt
    optimizer: torch.optim.Optimizer
    before: list[torch.Tensor]
    loss: float

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of the state by what they are."""
        weights = list(self.model.parameters())
        moments = [self.optimizer.state[p] for p in weights]
        kinds = {
            "weights": [p.detach() for p in weights],
            "Adam, first moment": [m["exp_avg"] for m in moments],
            "Adam, second moment": [m["exp_avg_sq"] for m in moments],
        }
        found = {}
        for name, tensors in kinds.items():
            whole = torch.cat([t.flatten() for t in tensors])
            found[f"{name}, fp32"] = whole.numpy().copy()
            found[f"{name}, bf16"] = whole.to(torch.bfloat16).view(torch.int16).numpy().copy()
        return found


def training(steps: int, width: int, layers: int) -> Iterator[Run]:
    """Train, and yield after each step."""
    torch.manual_seed(0)
    text = "".join(topics.topics.values())
    symbols = {c: i for i, c in enumerate(sorted(set(text)))}
    data = torch.tensor([symbols[c] for c in text])
    model = Gpt(len(symbols), width, layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                6e-4 * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
                + 1e-5
            )
        at = torch.randint(len(data) - CONTEXT - 1, (BATCH,))
        x = torch.stack([data[i : i + CONTEXT] for i in at])
        y = torch.stack([data[i + 1 : i + CONTEXT + 1] for i in at])
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        run = Run(model, optimizer, before, float(loss.detach()))
        if step % 20 == 0:
            print(f"step {step}: loss {run.loss:.2f}", flush=True)
        yield run
