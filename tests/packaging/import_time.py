"""Times ``import holdfast``, which is to take under 150 ms, in fresh interpreters."""

from __future__ import annotations

import statistics
import subprocess
import sys

PROMISED_MS = 150
ROUNDS = 15
TIMED = "import time; a = time.perf_counter(); {}; print(1e3 * (time.perf_counter() - a))"
STATEMENTS = (
    "import holdfast",
    "import numpy",
    "from holdfast import Checkpointer, every, keep, on",
)


def milliseconds(statement: str) -> float:
    """Return how long a statement takes in an interpreter that has done nothing yet."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    # In turns: what else the machine does falls on all of them.
    rounds = [[milliseconds(statement) for statement in STATEMENTS] for _ in range(ROUNDS)]
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    for statement, median in zip(STATEMENTS, medians, strict=True):
        print(f"{median:7.1f} ms  {statement}")
    print(f"promised: {STATEMENTS[0]} under {PROMISED_MS} ms, median of {ROUNDS}")
    return int(medians[0] >= PROMISED_MS)


if __name__ == "__main__":
    sys.exit(main())
