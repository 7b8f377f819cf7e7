"""What differences from earlier checkpoints take on a real run: ``make ratios``.

The small GPT is saved at every step, and at every tenth, each kind of array by
itself, with and without differences. Every checkpoint must come back bit for bit. With ``--write
FILE`` the table in a guide is put anew.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import put_between
from small_gpt import training

import holdfast
from holdfast.chunks.deltas import MAX_AGE

BEGIN, END = "<!-- deltas:begin -->", "<!-- deltas:end -->"
FIRST_STEP = 150
INTERVALS = (1, 10)

Arrays = dict[str, np.ndarray[Any, Any]]


def snapshots(width: int, layers: int) -> dict[int, list[Arrays]]:
    """Return the states to be saved, by interval: one that is stored whole, and its differences."""
    wanted = {i: [FIRST_STEP + i * n for n in range(MAX_AGE + 1)] for i in INTERVALS}
    found: dict[int, list[Arrays]] = {interval: [] for interval in INTERVALS}
    for step, run in enumerate(training(300, width, layers)):
        for interval, steps in wanted.items():
            if step in steps:
                found[interval].append(run.arrays())
        if all(len(states) > MAX_AGE for states in found.values()):
            break
    return found


def stored(made: list[Arrays], kind: str, compress: Any) -> list[float]:
    """Return stored bytes over bytes of the state for each save of one kind of arrays."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for step, arrays in enumerate(made):
            state = {kind: arrays[kind]}
            info = holdfast.save(folder, state, run="r", step=step, rng=False, compress=compress)
            found.append(info.stored_bytes / info.state_bytes)
        for step, arrays in enumerate(made):
            again = holdfast.load(folder, f"r@{step}", verify="full")
            assert again[kind].tobytes() == arrays[kind].tobytes()
    return found


def shares(kind: str, states: dict[int, list[Arrays]]) -> list[float]:
    """Return what a kind of arrays takes: for each interval planes, first delta, mean."""
    cells = []
    for interval in INTERVALS:
        planes = stored(states[interval], kind, "planes")
        delta = stored(states[interval], kind, "delta")
        cells += [planes[1], delta[1], sum(delta) / len(delta)]
    return cells


def line(name: str, cells: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    states = snapshots(options.width, options.layers)
    kinds = list(states[INTERVALS[0]][0])
    names = [
        f"{what}, {'each step' if interval == 1 else f'every {interval} steps'}"
        for interval in INTERVALS
        for what in ("planes", "delta, one save apart", f"delta, mean of {MAX_AGE + 1}")
    ]
    lines = ["| stored ÷ state | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    found = {}
    for kind in kinds:
        found[kind] = shares(kind, states)
        lines.append(line(kind, found[kind]))
        print(lines[-1], flush=True)
    # Kinds of arrays have equally many bytes.
    whole = zip(*(cells for kind, cells in found.items() if kind.endswith("fp32")), strict=True)
    lines.append(line("all of it, fp32", [sum(cells) / len(cells) for cells in whole]))
    text = "\n".join(lines)
    print(text)
    if options.write:
        put_between(options.write, BEGIN, END, text)


if __name__ == "__main__":
    main()
