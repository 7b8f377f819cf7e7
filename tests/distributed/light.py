"""One rank of a training without a framework, on a host of its own: it starts in no time.

``FOLDER STEPS HOSTS [NAME=VALUE …]``: HOSTS are those of the ranks, ``a,a,b`` say; each has its
store below FOLDER. ``copies=N``, ``kill=RANK@STEP``, ``slow=SECONDS``, ``mebi=N`` (so much that
each rank has for itself).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from holdfast import Checkpointer, Peers, every, keep
from holdfast.distributed.ranks import Ranks
from holdfast.errors import HoldfastError


class FolderGroup:
    """Ranks that talk by files in a folder that is new for each start."""

    def __init__(self, folder: Path, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        self._folder, self._n = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def broadcast(self, value: Any) -> Any:
        return self.gather(value)[0]

    def gather(self, value: Any) -> list[Any]:
        self._n += 1
        mine = self._folder / f"{self._n}-{self.rank}"
        mine.with_suffix(".new").write_text(json.dumps(value))
        mine.with_suffix(".new").rename(mine)
        paths = [self._folder / f"{self._n}-{rank}" for rank in range(self.world_size)]
        until_s = time.monotonic() + 120
        while not all(path.exists() for path in paths):
            assert time.monotonic() < until_s, "not every rank has come"
            time.sleep(0.005)
        return [json.loads(path.read_text()) for path in paths]


def train(state: dict[str, Any], step: int) -> float:
    """Do one step; what comes of it depends on every bit before."""
    for name in sorted(state):
        array = state[name]
        array *= np.float32(0.9)
        array += np.float32(np.sin(step + array.size))
    return float(state["shared"][0])


def begun(rank: int, n_own: int = 5) -> dict[str, Any]:
    """Return what a rank begins with."""
    own = np.full(n_own, rank, np.float32)
    return {"shared": np.arange(9, dtype=np.float32), "own": own}


def digest(state: dict[str, Any]) -> str:
    """Return a digest of every bit."""
    return hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest()


def ended(state: dict[str, Any], steps: int) -> str:
    """Return how a training ends that nothing disturbs."""
    for step in range(steps):
        train(state, step)
    return digest(state)


def main(folder: str, steps: str, hosts: str, *options: str) -> None:
    how = dict(option.split("=") for option in options)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    group = FolderGroup(Path(os.environ["MEET"]), rank, world)
    host = hosts.split(",")[rank]
    state = begun(rank, (int(how.get("mebi", "0")) << 18) + 5)
    with Checkpointer(
        f"{folder}/{host}",
        {"w": state, "place": {"rank": rank}},
        run="r",
        save=every(steps=2),
        keep=keep.last(2),
        rng=False,
        ranks=Ranks(group, group.broadcast(os.urandom(16).hex()), patience_s=60.0),
        per_rank=["w/own", "place/**"],
        peers=Peers(copies=int(how.get("copies", "1")), host=host),
    ) as ckpt:
        restored = ckpt.restore()
        print("restored", restored.step if restored else None, flush=True)
        for step in range(ckpt.next_step, int(steps)):
            loss = train(state, step)
            if how.get("kill") == f"{rank}@{step}":
                os.kill(os.getpid(), signal.SIGKILL)
            ckpt.step(step, metrics={"loss": loss})
            print("did", step, flush=True)
            time.sleep(float(how.get("slow", "0")))
    print("ended", digest(state), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    try:
        main(*sys.argv[1:])
    except HoldfastError as error:
        print("refused", error.kind, error.message, flush=True)
        sys.exit(7)
