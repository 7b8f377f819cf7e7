"""The command: real runs of small scripts, its report, its exit status, its clear words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from drill.planting import SCRIPTS, environment
from holdfast.cli import main, output
from holdfast.drill import drilling
from holdfast.drill.faults import FAULTS

LARGE = pytest.mark.skipif(os.environ.get("HOLDFAST_DRILL") != "full", reason="make drill")


def drill(*arguments: object, script: str, mode: tuple[str, ...] = (), at: Path):
    """Run the command on a script in an empty folder."""
    command = [sys.executable, "-m", "holdfast", *command_line(*arguments, script=script, at=at)]
    return subprocess.run(
        [*command, *mode],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def command_line(*arguments: object, script: str, at: Path) -> list[str]:
    """The arguments of the command, with the script in an empty folder."""
    work = at / "work"
    work.mkdir(exist_ok=True)
    (work / script).write_text((SCRIPTS / script).read_text())
    return [str(one) for one in ("drill", "--dir", work, *arguments, "--", sys.executable, script)]


def patient(mode: str, at: Path) -> tuple[str, ...]:
    """Arguments of the plain script with which it never ends before a fault has come."""
    (at / "runs").mkdir()
    return ("{out}", mode, str(at / "runs"))


def test_a_clean_script_passes_every_fault_and_ci_has_its_report(tmp_path):
    report = tmp_path / "drill.xml"
    mode = patient("", tmp_path)
    done = drill("--junit", report, "--json", script="plain_python.py", mode=mode, at=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["exact"] and told["causes"] == []
    statuses = {outcome["fault"]: outcome["status"] for outcome in told["outcomes"]}
    # A cut file stops it, and no older one is there: nothing wrong, but not by itself.
    assert statuses.pop("damaged") == "warned"
    assert statuses.pop("world") == "skipped"
    assert set(statuses.values()) == {"passed"} and len(statuses) == 8
    assert told["undisturbed"]["volatile"] == ["out/state.pkl: when"]
    # It did resume, and not from the beginning.
    killed = next(o for o in told["outcomes"] if o["fault"] == "kill")
    assert "printed lines" in killed["what"]
    suite = ElementTree.parse(report).getroot()[0]
    assert suite.attrib["tests"] == "11" and suite.attrib["failures"] == "0"
    assert suite.attrib["skipped"] == "1"
    assert not (tmp_path / "work" / "state.pkl").exists()


def test_a_script_that_never_saves_is_told_so(tmp_path):
    done = drill("--json", script="plain_python.py", mode=("{out}", "never"), at=tmp_path)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert done.returncode == 2
    assert error["kind"] == "nothing-saved"
    assert "{out}" in error["message"] and "no file at all" in error["message"]


def test_a_script_that_cannot_run_twice_the_same_is_measured_not_judged(tmp_path):
    junit = tmp_path / "drill.xml"
    done = drill("--junit", junit, script="plain_python.py", mode=("{out}", "noise"), at=tmp_path)
    assert done.returncode == 1
    assert "Two undisturbed runs of it do not end the same" in done.stdout
    assert "loss differs from step 1 (" in done.stdout
    # Which leaf it is.
    assert "out/state.pkl: " in done.stdout.partition("leaves differ")[2]
    assert "passed" not in done.stdout
    failure = ElementTree.parse(junit).getroot()[0][0][0]
    assert failure.tag == "failure" and failure.attrib["type"] == "not-repeatable"


QUIET = """\
import os, time
import numpy as np
w, at = np.zeros(3), 0
if {loads} and os.path.exists("c.npz"):
    with np.load("c.npz") as saved:
        w, at = saved["w"], int(saved["at"])
for at in range(at, 40):
    w = w + np.sin(at)
    time.sleep(0.01)
    np.savez("t.npz", w=w, at=at + 1)
    os.replace("t.npz", "c.npz")
"""


@pytest.mark.parametrize("loads", [True, False])
def test_a_script_that_prints_nothing_is_only_trusted_if_it_reads_its_checkpoint(tmp_path, loads):
    (tmp_path / "quiet.py").write_text(QUIET.format(loads=loads))
    command = ["drill", "--fault", "kill", "--dir", tmp_path, "--json", "--", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *map(str, command), "quiet.py"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    [outcome] = told["outcomes"]
    assert told["exact"] == loads and outcome["status"] == ("passed" if loads else "warned")
    assert ("it read a checkpoint" in outcome["words"]) == loads


SEEDED_ELSEWHERE = """\
import numpy as np
from holdfast import Checkpointer, every
rng = np.random.default_rng(0)
class Generator:
    def state_dict(self):
        return rng.bit_generator.state
    def load_state_dict(self, state):
        rng.bit_generator.state = state
state = {"w": np.zeros(3), "rng": Generator()}
with Checkpointer("ckpts", state, run="r", save=every(steps=4)) as ckpt:
    ckpt.restore()
    for step in range(ckpt.next_step, 20):
        state["w"] += rng.normal(size=3)
        ckpt.step(step)
    ckpt.save(19).wait()
"""


def test_a_global_generator_that_nobody_seeds_or_uses_is_no_noise(tmp_path):
    (tmp_path / "train.py").write_text(SEEDED_ELSEWHERE)
    command = ["drill", "--fault", "kill", "--dir", tmp_path, "--", sys.executable, "train.py"]
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *map(str, command)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "@rng/numpy" in done.stdout.partition("never the same")[2]


def test_a_script_that_fails_by_itself_is_not_drilled(tmp_path):
    done = drill(script="plain_python.py", mode=("{out}", "fails"), at=tmp_path)
    assert done.returncode == 2
    assert "ends with status 1 by itself" in done.stderr and "no data found" in done.stderr


def test_a_torn_save_is_found(tmp_path):
    mode = patient("torn", tmp_path)
    arguments = ("--fault", "kill-in-save", "--json")
    done = drill(*arguments, script="plain_python.py", mode=mode, at=tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["outcomes"][0]["status"]) == (1, "failed")
    assert "does not start again after: SIGKILL in the middle of a save" in str(told["causes"])


def test_saves_that_fail_without_a_word_are_found(tmp_path):
    done = drill(
        "--fault", "full-disk", script="plain_python.py", mode=("{out}", "swallow"), at=tmp_path
    )
    assert done.returncode == 1, done.stdout
    told = " ".join(done.stdout.split())
    assert "it ended with status 0 on a full disk, but its end was not saved" in told


def test_a_script_that_does_not_leave_is_killed_after_its_grace(tmp_path):
    mode = patient("stubborn", tmp_path)
    arguments = ("--fault", "sigterm", "--grace", "0.01")
    done = drill(*arguments, script="plain_python.py", mode=mode, at=tmp_path)
    assert "it did not leave within 0.01 s, and was killed" in " ".join(done.stdout.split())
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "earthquake"], "There is no fault earthquake"),
        (["--fault", "world"], "needs {world} in the command"),
        (["--world", "two"], "--world is 'two'"),
        (["--world", "0,1"], "1 or more"),
        (["--budget", "0"], "--budget is 0"),
        (["--budget", "-1"], "--budget is -1;"),
        (["--budget", "0.0001"], "takes longer than the budget"),
        (["--grace", "-1"], "--grace is -1"),
        (["--dir", "/not/there"], "There is no folder '/not/there'"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, arguments, words):
    done = drill(*arguments, script="plain_python.py", mode=("{out}",), at=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_a_program_that_is_not_there_is_told(tmp_path):
    command = [sys.executable, "-m", "holdfast", "drill", "--dir", str(tmp_path), "--", "no-such"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "'no-such' cannot be run" in done.stderr


def test_what_the_budget_does_not_allow_is_skipped_and_proves_nothing(
    tmp_path, monkeypatch, capsys
):
    spent_s = 0.0

    def say(line: str) -> None:
        """Let the second undisturbed run spend all of the budget."""
        nonlocal spent_s
        spent_s += 3600.0 if "once more" in line else 0.0

    clock = SimpleNamespace(monotonic=lambda: spent_s)
    monkeypatch.setattr(drilling, "time", clock)
    monkeypatch.setattr(output, "notice", say)
    output.stdout.cache_clear()
    arguments = command_line("--budget", "60", "--json", script="plain_python.py", at=tmp_path)
    monkeypatch.setattr(sys, "argv", ["holdfast", *arguments, "{out}"])
    assert main() == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["exact"] and len(told["outcomes"]) == len(FAULTS)
    assert {o["status"] for o in told["outcomes"]} == {"skipped"}
    assert sum("no time was left" in o["words"] for o in told["outcomes"]) == len(FAULTS) - 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("numpy_holdfast.py",),
        pytest.param(("keras_fit.py",), marks=LARGE),
        pytest.param(("lightning_fit.py",), marks=LARGE),
        pytest.param(("hf_trainer.py",), marks=LARGE),
        pytest.param(("torch_plain.py",), marks=LARGE),
    ],
    ids=lambda arguments: arguments[0],
)
def test_clean_scripts_of_frameworks_pass(tmp_path, arguments):
    # All faults are made on a smaller script above.
    some = [f"--fault={name}" for name in ("kill", "kill-in-save", "damaged", "full-disk")]
    few = [] if os.environ.get("HOLDFAST_DRILL") == "full" else some
    done = drill("--json", "--budget", "30", *few, script=arguments[0], at=tmp_path)
    told = json.loads(done.stdout)
    failed = [o for o in told["outcomes"] if o["status"] not in ("passed", "skipped", "warned")]
    assert failed == [] and done.returncode == 0
    if arguments[0] == "numpy_holdfast.py":
        assert {o["status"] for o in told["outcomes"] if o["fault"] != "world"} == {"passed"}


@LARGE
def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    options = ["--json", "--world", "2,1", "--fault", "kill", "--fault", "world"]
    done = drill(*options, script="ranks.py", mode=("{world}",), at=tmp_path)
    told = json.loads(done.stdout)
    assert {o["fault"]: o["status"] for o in told["outcomes"]} == {
        "kill": "passed",
        "world": "passed",
    }
    assert done.returncode == 0
    world = next(o for o in told["outcomes"] if o["fault"] == "world")
    assert "on with 1 instead of 2 processes" in world["what"]
    # Half as many samples a step: the end is near, and not the same.
    assert "of their norm away" in world["words"]


STAMPED = """
import os, sys, time
import numpy as np
folder = f"outputs/{time.time_ns()}" if sys.argv[1] == "stamped" else "outputs"
os.makedirs(folder, exist_ok=True)
for step in range(20):
    time.sleep(0.02)
    np.savez(f"{folder}/state.npz", w=np.arange(step))
"""


def test_checkpoints_with_another_name_each_time_prove_nothing(tmp_path):
    (tmp_path / "train.py").write_text(STAMPED)
    command = [sys.executable, "-m", "holdfast", "drill", "--dir", tmp_path, "--fault", "kill"]
    done = subprocess.run(
        [*map(str, command), "--", sys.executable, "train.py", "stamped"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert "other names" in done.stderr and "{out}" in done.stderr


def test_a_warning_alone_is_no_failure(tmp_path):
    report = tmp_path / "drill.xml"
    mode = patient("", tmp_path)
    arguments = ("--fault", "damaged", "--junit", report)
    done = drill(*arguments, script="plain_python.py", mode=mode, at=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing wrong was trained on" in done.stdout
    assert "It resumes exactly" not in done.stdout
    assert ElementTree.parse(report).getroot()[0].attrib["failures"] == "0"


def test_a_report_that_cannot_be_written_is_told_before_the_drill(tmp_path):
    done = drill(
        "--junit",
        tmp_path / "none" / "drill.xml",
        script="plain_python.py",
        mode=("{out}",),
        at=tmp_path,
    )
    assert done.returncode == 3
    assert "Nothing was run" in done.stderr and "undisturbed" not in done.stderr


def test_a_kill_after_all_was_done_proves_nothing(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "late.py").write_text(
        "import pickle, time\npickle.dump([1, 2], open('s.pkl', 'wb'))\ntime.sleep(0.5)\n"
    )
    command = ["drill", "--dir", work, "--fault", "kill", "--no-repeat", "--json", "--"]
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *map(str, command), sys.executable, "late.py"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    [outcome] = json.loads(done.stdout)["outcomes"]
    assert outcome["status"] == "skipped" and "came too late" in outcome["what"]
    assert done.returncode == 1
