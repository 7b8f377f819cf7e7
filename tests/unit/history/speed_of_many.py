"""How long whole commands take on a store of ten thousand checkpoints: ``make history``.

Beside them is what Python and the command line take to start. Times are the smallest of several.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from big_store import make_big_store

import holdfast

COMMAND = str(Path(sysconfig.get_path("scripts")) / "holdfast")
ROUNDS = 5
WANTED = {"log": 0.3, "log RUN": 0.3, "show REF": 0.3, "tag REF NAME": 0.3, "rebuild": 60.0}


def fastest(arguments: Sequence[str]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(store: Path, n_runs: int) -> dict[str, float]:
    run = f"run-{n_runs // 2}"
    command = [COMMAND, "--store", str(store)]
    begin = time.perf_counter()
    holdfast.Store(store).doctor()
    return {
        "doctor, with rebuild": time.perf_counter() - begin,
        "python -c pass": fastest([sys.executable, "-c", "pass"]),
        "holdfast log --help": fastest([COMMAND, "log", "--help"]),
        "log": fastest([*command, "log"]),
        "log RUN": fastest([*command, "log", run]),
        "show REF": fastest([*command, "show", f"{run}@best:val_loss"]),
        "tag REF NAME": fastest([*command, "tag", f"{run}@best:val_loss", "fastest"]),
        "rebuild": rebuild(store),
    }


def rebuild(store: Path) -> float:
    from holdfast.history import catalog
    from holdfast.records.marker import open_store

    begin = time.perf_counter()
    assert catalog.rebuild(open_store(store, create=False))
    return time.perf_counter() - begin


def main(n_runs: int = 10, n_checkpoints: int = 1000) -> int:
    with tempfile.TemporaryDirectory(prefix="holdfast-history-") as folder:
        make_big_store(Path(folder, "ckpts"), n_runs=n_runs, n_checkpoints=n_checkpoints)
        found = measure(Path(folder, "ckpts"), n_runs)
    print(f"{n_runs} runs of {n_checkpoints} checkpoints")
    missed = 0
    for name, seconds in found.items():
        wanted = WANTED.get(name)
        missed += wanted is not None and seconds > wanted
        limit = f"   wanted {wanted:g} s" if wanted is not None else ""
        print(f"{name:22} {seconds * 1e3:10.0f} ms{limit}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
