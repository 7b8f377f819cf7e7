"""One life: what it may do, what ends with it, and that being watched changes nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from drill.planting import LIMIT_S, SCRIPTS, environment
from holdfast import Store
from holdfast.drill import DrillOptions, drill
from holdfast.drill.checkpoint_files import find
from holdfast.drill.compare import compare
from holdfast.drill.lives import Lives, Terms
from holdfast.drill.processes import Process
from holdfast.drill.results import record_of
from holdfast.drill.strikes import AtSight
from holdfast.drill.work_folder import RunFolder, fresh
from holdfast.errors import UsageError


def folder_with(script: str, tmp_path: Path, name: str) -> RunFolder:
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / script).write_text((SCRIPTS / script).read_text())
    return fresh(source, tmp_path / name, (), ())


def lives(folder: RunFolder, *command: str, watch: bool = True) -> Lives:
    return Lives([sys.executable, *command], environment(), folder.root / "told", watch=watch)


def test_being_watched_changes_nothing(tmp_path):
    records = []
    for watch in (True, False):
        folder = folder_with("numpy_holdfast.py", tmp_path, f"run-{watch}")
        life, _ = lives(folder, "numpy_holdfast.py", watch=watch).live(folder, Terms(LIMIT_S))
        assert life.status == 0, life.lines
        assert len(life.trace.main) == (60 if watch else 0)
        records.append(record_of(folder, (life,), Store))
    difference = compare(*records)
    assert difference.missing == () and difference.series == ()
    # Nobody has seeded it, and nobody draws from it.
    assert {d.path for d in difference.leaves} <= {"@rng/python/words"}
    assert difference.n_leaves > 15


def test_a_file_that_may_not_be_complete_is_a_failed_save(tmp_path):
    folder = folder_with("plain_python.py", tmp_path, "run")
    terms = Terms(LIMIT_S, most_bytes=8192)
    life, _ = lives(folder, "plain_python.py", "{out}").live(folder, terms)
    assert life.status == 1 and "File too large" in life.lines[-1]
    assert not life.had_checkpoint and not find(folder)


def test_everything_that_came_of_it_is_ended_also_what_left_its_session(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "parent.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "                         start_new_session=True)\n"
        "open('child.pid', 'w').write(str(child.pid))\n"
        "open('state.pt', 'w').write('x')\n"
        "print('one', flush=True)\n"
        "print('two', flush=True)\n"
        "time.sleep(600)\n"
    )
    folder = fresh(tmp_path / "source", tmp_path / "run", (), ())
    began_s = time.monotonic()
    strike = AtSight(signal.SIGKILL, lines=2)
    life, _ = lives(folder, "parent.py").live(folder, Terms(LIMIT_S, strike))
    assert life.struck and life.status == -signal.SIGKILL and life.had_checkpoint
    pid = int((folder.work / "child.pid").read_text())
    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or ") Z " in status.read_text()
    assert time.monotonic() - began_s < LIMIT_S


def test_a_life_that_does_not_end_is_ended(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "endless.py").write_text("while True: pass\n")
    folder = fresh(tmp_path / "source", tmp_path / "run", (), ())
    life, _ = lives(folder, "endless.py").live(folder, Terms(1.0))
    assert life.timed_out and life.status == -signal.SIGKILL


def test_a_run_that_ends_before_anybody_looks_may_still_be_too_long(tmp_path, monkeypatch):
    (tmp_path / "t.py").write_text("import time; open('s.pt', 'w').write('x'); time.sleep(0.1)\n")
    # As on a machine that is so busy that the drill has its turn only then.
    monkeypatch.setattr(Process, "wait", lambda self, until, limit_s: self.status == 0)
    options = DrillOptions((sys.executable, "t.py"), tmp_path, environment(), budget_s=0.05)
    with pytest.raises(UsageError, match=r"takes longer than the budget of 0\.05 s"):
        drill(options, lambda line: None)


def test_a_sitecustomize_of_ones_own_still_runs(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "t.py").write_text("import sys; print(sys.own, 'here')\n")
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import sys; sys.own = 'mine'\n")
    folder = fresh(tmp_path / "source", tmp_path / "run", (), ())
    variables = environment()
    variables["PYTHONPATH"] = f"{own}{os.pathsep}{variables['PYTHONPATH']}"
    told = Lives([sys.executable, "t.py"], variables, folder.root / "told", watch=True)
    life, _ = told.live(folder, Terms(LIMIT_S))
    assert life.lines == ("mine here",)
