"""Ranks as real processes: functions of this folder's modules, run by torch.distributed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distributed.forked_ranks import ForkedRank

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
TIMEOUT_S = 180
# Every size, every kind, every victim, launchers besides: make ranks.
# Those that import PyTorch, first of all.
_WITH_TORCH = ("cut_meshes.py", "far_trainer.py", "flattened.py", "trainer.py", "worlds.py")
IS_FULL = os.environ.get("HOLDFAST_RANKS") == "full"


@dataclass
class Job:
    """Ranks that are running, and what they print."""

    processes: list[subprocess.Popen[str] | ForkedRank]
    folder: Path
    logs: list[Path] = field(default_factory=list)

    def wait(self) -> list[int]:
        """Wait for all of them; return their exit statuses."""
        until_s = time.monotonic() + TIMEOUT_S
        try:
            return [p.wait(max(0.1, until_s - time.monotonic())) for p in self.processes]
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill those that are left."""
        for process in self.processes:
            process.kill()
            process.wait()

    def said(self, rank: int) -> str:
        """What a rank has printed so far."""
        return self.logs[rank].read_text()


def launch(
    script: str, world_size: int, folder: Path, *arguments: object, alone: Sequence[int] = ()
) -> Job:
    """Start a script of this folder as so many ranks.

    Args:
        script: Its name.
        world_size: How many ranks.
        folder: For what they print.
        arguments: Those of the script.
        alone: Ranks that are not started.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    job = Job([], folder)
    for rank in range(world_size):
        log = folder / f"rank-{rank}-{time.monotonic_ns()}.log"
        job.logs.append(log)
        log.touch()
        if rank in alone:
            continue
        variables = {
            "RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "MEET": str(folder / f"meet-{port}"),
            "PYTHONPATH": os.pathsep.join([str(SOURCES), str(HERE)]),
        }
        if script in _WITH_TORCH:
            rank_here = ForkedRank(HERE / script, [*map(str, arguments)], variables, log)
            job.processes.append(rank_here)
            continue
        with open(log, "w") as out:
            job.processes.append(
                subprocess.Popen(
                    [sys.executable, str(HERE / script), *map(str, arguments)],
                    env={**os.environ, **variables},
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
    return job


def run(script: str, world_size: int, folder: Path, *arguments: object) -> Job:
    """Run a script as so many ranks to its end; fail with what they print if one fails."""
    job = launch(script, world_size, folder, *arguments)
    statuses = job.wait()
    told = "\n".join(f"--- rank {r}\n{job.said(r)}" for r in range(world_size))
    assert statuses == [0] * world_size, told
    return job
