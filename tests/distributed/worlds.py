"""What one rank does for the tests of world sizes: saves, or restores, every kind that there is.

``save FOLDER`` trains each kind five steps and saves it; ``restore FOLDER`` restores what every
world size has saved into each kind that this one can have; ``restore FOLDER some`` into some.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist
from shares import restore_shares, save_shares
from training import digest, is_tried, kinds, made, train

from holdfast import Checkpointer, every
from holdfast.engine.restore import Wanted, restore_checkpoint
from holdfast.history.refs import resolve
from holdfast.records.opening import open_store

STEPS = 5


def save(folder: Path) -> None:
    world, rank = dist.get_world_size(), dist.get_rank()
    for kind in kinds(world):
        model, optimizer = made(kind)
        random.seed(100 + rank)
        state = {"model": model, "optimizer": optimizer, "own": {"rank": rank}}
        store = folder / f"{kind}-{world}"
        with Checkpointer(store, state, run="r", save=every(steps=2), per_rank="own/**") as ckpt:
            assert ckpt.restore() is None
            for step in range(STEPS):
                ckpt.step(step, metrics={"loss": train(model, optimizer, step)})
            ckpt.save(STEPS, tag="final").wait()
        found = {"digest": digest(model, optimizer)}
        drawn = random.Random(100 + rank).random()
        if rank == 0:
            (folder / f"{kind}-{world}.json").write_text(json.dumps(found))
        print("saved", kind, drawn, flush=True)
    save_shares(folder)


def restore(folder: Path, pairs: str = "all") -> None:
    world, rank = dist.get_world_size(), dist.get_rank()
    for told in sorted(folder.glob("*.json")):
        expected = json.loads(told.read_text())["digest"]
        saved_kind, _, n_saved = told.stem.partition("-")
        for kind in kinds(world):
            if pairs == "some" and not is_tried(told.stem, kind):
                continue
            model, optimizer = made(kind, seed=9)
            state = {"model": model, "optimizer": optimizer, "own": {"rank": rank}}
            random.seed(7)
            # A process for each of hundreds of restores would take most of the time.
            put = _by_checkpointer if kind == saved_kind else _by_itself
            assert put(folder / told.stem, state, rank) == STEPS
            assert digest(model, optimizer) == expected, (told.stem, kind)
            # What one process saved is everybody's; of several each has its own, or what it had.
            assert state["own"]["rank"] == (0 if int(n_saved) == 1 else rank), told
            seed = 100 + rank if rank < int(n_saved) else 7
            assert random.random() == random.Random(seed).random(), (told.stem, kind)
            print("restored", told.stem, "as", kind, flush=True)
    restore_shares(folder)


def _by_checkpointer(store: Path, state: dict[str, Any], rank: int) -> int:
    with Checkpointer(store, state, run="r", per_rank="own/**") as ckpt:
        restored = ckpt.restore("final")
        assert restored is not None
        return restored.step


def _by_itself(store: Path, state: dict[str, Any], rank: int) -> int:
    place = open_store(store, create=False)
    record = resolve(place, "r@final")
    wanted = Wanted(state, whole=True, rng=True, rank=rank)
    return restore_checkpoint(place, record, wanted).record.step


if __name__ == "__main__":
    dist.init_process_group("gloo")
    {"save": save, "restore": restore}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    dist.destroy_process_group()
