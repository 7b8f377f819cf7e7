"""How long whole commands take on a store of ten thousand checkpoints: ``make history``.

Beside them is what Python and the command line take to start, and the processor's time, which other
work on the machine changes less. Times are the smallest of several.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from big_store import make_big_store

import holdfast
from holdfast.policy.keep import keep

COMMAND = str(Path(sysconfig.get_path("scripts")) / "holdfast")
ROUNDS = 5
WANTED = {
    "log": 0.3,
    "log RUN": 0.3,
    "show REF": 0.3,
    "tag REF NAME": 0.3,
    "rebuild": 60.0,
    "prune a run": 10.0,
}


class Took(NamedTuple):
    """Seconds on the clock, and of the processor where that was measured."""

    wall_s: float
    cpu_s: float | None = None


def fastest(arguments: Sequence[str]) -> Took:
    times = []
    for _ in range(ROUNDS):
        begin, before = time.perf_counter(), _children_cpu_s()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        times.append(Took(time.perf_counter() - begin, _children_cpu_s() - before))
    return Took(min(t.wall_s for t in times), min(t.cpu_s or 0.0 for t in times))


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(store: Path, n_runs: int) -> dict[str, Took]:
    run = f"run-{n_runs // 2}"
    command = [COMMAND, "--store", str(store)]
    begin = time.perf_counter()
    holdfast.Store(store).doctor()
    return {
        "doctor, with rebuild": Took(time.perf_counter() - begin),
        "python -c pass": fastest([sys.executable, "-c", "pass"]),
        "holdfast log --help": fastest([COMMAND, "log", "--help"]),
        "log": fastest([*command, "log"]),
        "log RUN": fastest([*command, "log", run]),
        "show REF": fastest([*command, "show", f"{run}@best:val_loss"]),
        "tag REF NAME": fastest([*command, "tag", f"{run}@best:val_loss", "fastest"]),
        "rebuild": Took(rebuild(store)),
        "prune a run": Took(prune(store, "run-0")),
    }


def prune(store: Path, run: str) -> float:
    begin = time.perf_counter()
    report = holdfast.Store(store).prune(run, keep.last(1))
    assert report.removed
    return time.perf_counter() - begin


def rebuild(store: Path) -> float:
    from holdfast.history import catalog
    from holdfast.records.opening import open_store

    begin = time.perf_counter()
    assert catalog.rebuild(open_store(store, create=False))
    return time.perf_counter() - begin


def main(n_runs: int = 10, n_checkpoints: int = 1000) -> int:
    with tempfile.TemporaryDirectory(prefix="holdfast-history-") as folder:
        make_big_store(Path(folder, "ckpts"), n_runs=n_runs, n_checkpoints=n_checkpoints)
        found = measure(Path(folder, "ckpts"), n_runs)
    print(f"{n_runs} runs of {n_checkpoints} checkpoints")
    missed = 0
    for name, took in found.items():
        wanted = WANTED.get(name)
        missed += wanted is not None and took.wall_s > wanted
        cpu = "" if took.cpu_s is None else f"{took.cpu_s * 1e3:10.0f} ms of processor"
        limit = f"   wanted {wanted:g} s" if wanted is not None else ""
        print(f"{name:22} {took.wall_s * 1e3:10.0f} ms{cpu:>26}{limit}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
