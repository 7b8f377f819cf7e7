"""Ranks that need PyTorch, forked from one process that has imported it: that takes them seconds.

Each is a process of its own all the same, with its own memory, signals and children.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_FORKING = multiprocessing.get_context("forkserver")
# Not holdfast, nor what starts threads: a rank begins with that itself.
_FORKING.set_forkserver_preload(
    [
        "torch",
        "torch._dynamo",
        "torch.distributed.fsdp",
        "torch.distributed.optim",
        "torch.distributed.tensor.parallel",
        "torch.nn.parallel",
    ]
)


class ForkedRank:
    """One process; what a ``Popen`` has of methods, as far as tests of ranks need them.

    Args:
        script: What it runs, as a program.
        arguments: Its arguments.
        variables: What its environment has besides.
        log: Where it prints to.
    """

    def __init__(
        self, script: Path, arguments: Sequence[str], variables: Mapping[str, str], log: Path
    ) -> None:
        self._process = _FORKING.Process(
            target=_run, args=(script, list(arguments), dict(variables), log)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(f"rank {self.pid}", timeout or 0.0)
        return status

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _run(script: Path, arguments: list[str], variables: dict[str, str], log: Path) -> None:
    """Be the rank: the same as a fresh interpreter with this script, but for what is imported."""
    with open(log, "w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ.update(variables)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    import torch

    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    runpy.run_path(str(script), run_name="__main__")
