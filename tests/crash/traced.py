"""A training script whose persister is traced, and struck at a system call, by strace."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from crash_running import PATIENCE_S, Script, assert_verified, debris
from training_state import TrainingState

import holdfast

RUN = "run"
LAST = 12
WRITING = ("openat", "write", "writev", "pwrite64", "ftruncate", "mkdir")
NAMING = ("fsync", "rename", "link", "unlink")


@dataclass(frozen=True)
class Injection:
    """A fault of a thread's n-th call of some name."""

    call: str
    n: int
    fault: str  # signal=SIGKILL, error=EIO or error=ENOSPC

    def options(self, log: Path) -> list[str]:
        expression = f"inject={self.call}:{self.fault}:when={self.n}"
        return ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={self.call}", "-e", expression]


def struck(log: Path) -> bool:
    text = log.read_text(errors="replace")
    return "(INJECTED)" in text or "SIGKILL" in text


class Attached:
    """A training script whose persister is traced, from before the first save on."""

    def __init__(self, folder: Path, injection: Injection, *more: str) -> None:
        self.injection = injection
        self.store = folder / "store"
        self._folder, self._more = folder, more

    def run(self) -> bool:
        """Let it train to the end; say whether the fault has struck."""
        self._folder.mkdir(parents=True)
        go, log = self._folder / "go", self._folder / "strace.log"
        options = ("tiny", "--keep", 0, "--until", LAST + 1, "--after", go, *self._more)
        self.script = Script("killed_trainer.py", self.store, *options, folder=self._folder)
        tracer = None
        try:
            self.script.until(lambda: self.script.lines("fresh"), "its start")
            pid = self.script.numbers("persister")[0]
            tracer = subprocess.Popen([*self.injection.options(log), "-p", str(pid)])
            self.script.until(lambda: _are_traced(pid), "strace")
            go.touch()
            assert self.script.wait() == 0, (self.injection, self.script.told())
            tracer.wait(PATIENCE_S)
        finally:
            if tracer is not None:
                tracer.kill()
                tracer.wait()
            self.script.end()
        return struck(log)

    def check_contents(self) -> list[int]:
        """All that is in the log is good; return the steps of it."""
        assert_verified(self.store)
        steps = [info.step for info in holdfast.Store(self.store).log(RUN)]
        state = TrainingState("tiny")
        for step in steps:
            holdfast.load(self.store, f"{RUN}@{step}", into=state.tree, rng=True)
            assert state.wrong(step) == [], self.injection
        if "error" in self.injection.fault:
            # What could not be taken away goes when the run is opened again.
            holdfast.save(self.store, {"next": 0}, run=RUN, step=LAST + 1)
        assert debris(self.store, RUN) == set(), self.injection
        return steps


def _are_traced(pid: int) -> bool:
    statuses = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0" not in status for status in statuses)
