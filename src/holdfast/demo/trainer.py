"""The training script in a process of its own, watched, and killed when the time has come."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import EnvironmentTrouble

_STEP = re.compile(r"step (\d+) ")
_RESUMED = re.compile(r"resumed from (\S+): (\d+) of")
_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one process of the training script went.

    Attributes:
        killed: Whether we killed it.
        last_step: The last step that it had said it finished, -1 for none.
        resumed_from: The checkpoint that it said it resumed from.
        steps_done: How many steps it did not have to do, since the checkpoint had them.
        held_line: Its own words about how long saves held the loop.
        seconds: From start to end of the process.
    """

    killed: bool
    last_step: int
    resumed_from: str | None
    steps_done: int
    held_line: str
    seconds: float


def train(
    store: Path,
    run: str,
    steps: int,
    on_line: Callable[[str], None],
    kill: Callable[[int], bool] = lambda step: False,
) -> Outcome:
    """Run the training script to its end, or until `kill` says so of a finished step.

    Args:
        store: Where its checkpoints go.
        run: Name of the run.
        steps: Steps of the whole training.
        on_line: Called with each line that the script prints.
        kill: Asked after every step; where it says yes the process gets SIGKILL, with no warning.

    Raises:
        EnvironmentTrouble: The script failed by itself.
    """
    command = [sys.executable, "-m", "holdfast.demo.train", "--report-every", "1"]
    command += ["--store", str(store), "--run", run, "--steps", str(steps)]
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    watchdog = threading.Timer(_LIMIT_S, process.kill)
    watchdog.daemon = True
    watchdog.start()
    last_step, steps_done, resumed_from, held_line, killed = -1, 0, None, "", False
    tail: deque[str] = deque(maxlen=15)
    assert process.stdout is not None
    try:
        for text in process.stdout:
            line = text.rstrip()
            tail.append(line)
            on_line(line)
            if found := _STEP.match(line):
                last_step = int(found[1])
            elif found := _RESUMED.match(line):
                resumed_from, steps_done = found[1], int(found[2])
            elif "held the loop" in line:
                held_line = line
            if not killed and last_step >= 0 and kill(last_step):
                process.kill()
                killed = True
    finally:
        watchdog.cancel()
        process.kill()
        code = process.wait()
        process.stdout.close()
    if code != 0 and not (killed and code == -signal.SIGKILL):
        said = "\n".join(tail)
        raise EnvironmentTrouble(
            f"The training script of the demo ended with exit status {code}. It said:\n{said}"
        )
    return Outcome(
        killed, last_step, resumed_from, steps_done, held_line, time.monotonic() - started
    )
