"""Drives a worker for each tool, starts it again where a load ends it, and counts."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faults.effort import Effort
from faults.peers.tools import TOOLS
from faults.peers.worker import INTACT, REFUSED, SILENT

CRASHED, STUCK = "crashed", "stuck"
OUTCOMES = (INTACT, REFUSED, SILENT, CRASHED, STUCK)
# Longer than any of them takes to be imported.
_PATIENCE_S = 180.0
# Damage can make a tool ask for any amount of memory.
_MEMORY_BYTES = 24 << 30
_TESTS = Path(__file__).parents[2]


@dataclass(slots=True)
class Compared:
    """What became of the damages to a tool's checkpoint; or why there were none."""

    tool: str
    version: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    absent: str = ""


def compared(folder: Path, effort: Effort, interpreters: list[str]) -> Iterator[Compared]:
    """Damage a checkpoint of each tool that one of the interpreters has."""
    for tool, (module, _) in TOOLS.items():
        for python in interpreters:
            version = version_of(python, module)
            if version:
                yield damaged(tool, version, python, folder, effort.peer_flips)
                break
        else:
            yield Compared(tool, absent="not installed")


def version_of(python: str, module: str) -> str:
    """Return the version of the package that has a module, or nothing where it is not there."""
    package = {"orbax.checkpoint": "orbax-checkpoint"}.get(module, module)
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def damaged(tool: str, version: str, python: str, folder: Path, count: int) -> Compared:
    """Damage a checkpoint of one tool so many times, in processes of an interpreter."""
    found = Compared(tool, version)
    folder = folder / tool.replace(" ", "-")
    folder.mkdir()
    first = 0
    while first < count:
        before = first
        for number, outcome in _run(tool, python, folder, count, first):
            found.counts[outcome] = found.counts.get(outcome, 0) + 1
            first = number + 1
        if first == before:
            found.absent = (folder / "stderr.txt").read_text()[-400:] or "its process ends at once"
            break
    shutil.rmtree(folder)
    return found


def _run(tool: str, python: str, folder: Path, count: int, first: int) -> Iterator[tuple[int, str]]:
    """Run a worker to its end, and yield the number of each damage and what came of it."""
    command = ["prlimit", f"--as={_MEMORY_BYTES}"] if shutil.which("prlimit") else []
    command += [python, "-m", "faults.peers.worker", tool, str(folder), str(count), str(first)]
    path = os.pathsep.join([str(_TESTS), str(_TESTS / "crash")])
    environment = {**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    with open(folder / "stderr.txt", "w") as told:
        worker = subprocess.Popen(
            command, bufsize=0, stdout=subprocess.PIPE, stderr=told, env=environment
        )
    begun: int | None = None
    ended = CRASHED
    try:
        assert worker.stdout is not None
        waiting = select.poll()
        waiting.register(worker.stdout, select.POLLIN)
        while True:
            if not waiting.poll(_PATIENCE_S * 1e3):
                ended = STUCK
                break
            line = worker.stdout.readline()
            if not line:
                break
            facts = _parsed(line)
            if "outcome" in facts:
                yield int(facts["number"]), facts["outcome"]
                begun = None
            elif "number" in facts:
                begun = int(facts["number"])
    finally:
        worker.kill()
        worker.wait()
    if begun is not None:
        yield begun, ended


def _parsed(line: bytes) -> dict[str, str]:
    try:
        found = json.loads(line)
    except ValueError:
        # A tool that prints.
        return {}
    return found if isinstance(found, dict) else {}


def interpreters() -> list[str]:
    """Return this interpreter, and the one of the peers that do not go with it, if it is there."""
    other = Path(__file__).parents[3] / ".venv-peers" / "bin" / "python"
    return [sys.executable, *([str(other)] if other.exists() else [])]
