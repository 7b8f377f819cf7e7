"""Scripts with a bug each, killed and resumed, beside one undisturbed run of the clean script."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from holdfast import Store
from holdfast.drill.compare import compare
from holdfast.drill.faults import FAULTS
from holdfast.drill.judge import judge
from holdfast.drill.lives import Lives, Terms
from holdfast.drill.record import Record
from holdfast.drill.report import Outcome
from holdfast.drill.results import record_of
from holdfast.drill.strikes import AtRow
from holdfast.drill.work_folder import fresh

SCRIPTS = Path(__file__).parent / "scripts"
LIMIT_S = 300.0


def environment() -> dict[str, str]:
    """The variables of this process, with the package and one thread."""
    source = str(Path(sys.modules["holdfast"].__file__ or "").parents[1])
    paths = os.pathsep.join(p for p in (source, os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


class Planted:
    """The clean script's undisturbed run, which all bugs of the script are compared with."""

    def __init__(self, script: str, scratch: Path, *arguments: str, wait_for: str) -> None:
        self._scratch, self._arguments = scratch, arguments
        self._wait_for = wait_for
        self._source = scratch / "source"
        self._source.mkdir(parents=True)
        (self._source / script).write_text((SCRIPTS / script).read_text())
        self._script = script
        self.reference = self._run("", None)

    def killed(self, bug: str, row: int, kind: str = "o") -> Outcome:
        """Run the script with a bug, kill it at a step, start it again, and judge."""
        record = self._run(bug, AtRow(kind, row, signal.SIGKILL, 0.0, everyone=True))
        difference = compare(self.reference, record)
        return judge(FAULTS[0], "killed", self.reference, record, difference)

    def _run(self, bug: str, strike: AtRow | None) -> Record:
        name = bug or "clean"
        folder = fresh(self._source, self._scratch / f"{name}-{strike is not None}", (), ())
        command = [sys.executable, self._script, *self._arguments, *([bug] if bug else [])]
        lives = Lives(command, environment(), folder.root / "told", watch=True)
        first, _ = lives.live(folder, Terms(LIMIT_S, strike, wait_for=(self._wait_for,)))
        if strike is None:
            assert first.status == 0, first.lines
            return record_of(folder, (first,), Store)
        assert first.status == -signal.SIGKILL or first.struck, first.lines
        last, _ = lives.live(folder, Terms(LIMIT_S))
        return record_of(folder, (first, last), Store)
