"""What the crash tests share: processes that are killed, and stores that are looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import holdfast

HERE = Path(__file__).parent
IS_FULL = os.environ.get("HOLDFAST_FAULTS") == "full"
PATIENCE_S = 60.0


def budget_s(seconds: float) -> float:
    """Return how long a test may go on making faults."""
    return seconds * (10 if IS_FULL else 1)


class Script:
    """A Python script in a session of its own, its output in files."""

    def __init__(self, name: str, *args: object, folder: Path, prefix: Sequence[str] = ()) -> None:
        self._out = folder / "stdout.txt"
        self._err = folder / "stderr.txt"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(HERE / name), *map(str, args)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def lines(self, word: str) -> list[str]:
        """Return what followed word on each whole line that begins with it."""
        whole = self._out.read_text().rpartition("\n")[0].splitlines()
        return [rest for first, _, rest in (line.partition(" ") for line in whole) if first == word]

    def numbers(self, word: str) -> list[int]:
        return [int(rest) for rest in self.lines(word)]

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something holds; an end of the script or too long a wait fails the test."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.is_running, (
                f"ended ({self.process.returncode}) before {what}\n{self.told()}"
            )
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self.told()}"
            time.sleep(0.002)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status; not ending at all fails the test."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {PATIENCE_S} s\n{self.told()}") from None

    def told(self) -> str:
        return f"{self._out.read_text()[-2000:]}\n--- stderr\n{self._err.read_text()[-4000:]}"

    def end(self) -> None:
        """Leave no process behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid in self.numbers("persister")[-1:]:
            kill(pid)
            wait_gone(pid)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_gone(pid: int) -> None:
    """Wait for the end of a process that may be no child of ours."""
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.005)


def files(store: Path) -> set[str]:
    """Return the files of a store, by their paths in it."""
    return {str(p.relative_to(store)) for p in store.rglob("*") if not p.is_dir()}


# The marker, and a cache that anybody may delete.
KEPT = {"holdfast.json", *(f"catalog.sqlite{suffix}" for suffix in ("", "-wal", "-shm"))}


def debris(store: Path, run: str) -> set[str]:
    """Return the files of a run that no checkpoint needs."""
    expected = {"events.jsonl", "writer.lock", "records.lock"}
    root = store / "runs" / run
    for info in holdfast.Store(store).log(run):
        expected |= {f"commits/{info.seq:012d}"}
    needed = needed_objects(store, run)
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    beside = ("tags/", "names/", "notes/", "metrics/")
    tags = {name for name in found if name.startswith(beside) and ".tmp-" not in name}
    stray = {name for name in files(store) if "/" not in name and name not in KEPT}
    return found - expected - needed - tags | stray


def needed_objects(store: Path, run: str) -> set[str]:
    """Return the parts and packs that the commits of a run name, relative to the run."""
    from holdfast.records import commits
    from holdfast.records.opening import open_store

    opened = open_store(store, create=False)
    needed: set[str] = set()
    for record in commits.good_commits(opened, run):
        for ref in record.parts:
            needed.add(ref.key)
            needed |= {pack.key for pack in commits.read_part(opened, record, ref).packs}
    return {key.partition(f"runs/{run}/")[2] for key in needed}


def assert_verified(store: Path) -> None:
    """Every checkpoint of a store is good, and so is the store."""
    report = holdfast.Store(store).verify()
    assert report.ok, (report.problems, [c for c in report.checkpoints if not c.ok])
