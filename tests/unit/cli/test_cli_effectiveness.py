"""report, advise and simulate: on a run that was really killed, and on what is not possible."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from cli_running import holdfast, on_terminal

import holdfast as package
from holdfast import Checkpointer, adaptive, every, keep

KILLED_AT = 137
LAST = 199
SCRIPT = """
import os, signal, sys, time
import numpy as np
from holdfast import Checkpointer, every, keep

state = {"w": np.zeros(20_000)}
kill_at = int(sys.argv[2])
with Checkpointer(sys.argv[1], state, run="r", save=every(steps=25), keep=keep.last(2)) as ckpt:
    ckpt.restore()
    for step in range(ckpt.next_step, 200):
        state["w"] += np.random.default_rng(step).random(20_000)
        time.sleep(0.002)
        ckpt.step(step)
        if step % 25 == 0:
            ckpt.wait()
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose run was killed in the middle, went on, and came to its end."""
    folder = tmp_path_factory.mktemp("effectiveness")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    for kill_at, status in ((KILLED_AT, -signal.SIGKILL), (-1, 0)):
        command = [sys.executable, str(script), str(folder / "ckpts"), str(kill_at)]
        assert subprocess.run(command, timeout=120, check=False).returncode == status
    return folder / "ckpts"


def test_a_kill_is_in_the_report_to_the_step(killed: Path) -> None:
    found = holdfast("report", "r", "--json", store=killed).json
    [item] = found["interruptions"]
    assert (item["how"], item["reached"], item["back_to"]) == ("died", KILLED_AT, 125)
    assert item["lost_steps"] == KILLED_AT - 125
    assert (found["steps"], found["steps_twice"]) == (LAST + 1, KILLED_AT - 125)
    assert (found["n_saves"], found["n_processes"], found["is_open"]) == (7, 2, False)
    # What the processes slept is useful time, at least.
    assert found["wall_clock"]["useful_s"] > 0.002 * LAST
    assert found["wall_clock"]["down_s"] > 0.0 and found["doubts"] == []
    assert found["restore_s"]["n"] == 1 and found["n_pruned"] == 5
    assert sum(length["count"] for length in found["step_lengths"]) == KILLED_AT + 1 + LAST - 125


def test_a_report_for_people(killed: Path, here) -> None:
    ran = here("report", "r", store=killed)
    assert ran.status == 0
    assert "ETTR" in ran.out and "done twice" in ran.out and "died" in ran.out
    assert "200 that count, 12 done twice" in ran.out
    status, screen = on_terminal("report", "r", store=killed)
    assert status == 0 and "█" in screen


def svg_elements(page: str) -> list[ElementTree.Element]:
    parts = page.split("<svg")[1:]
    return [ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>") for part in parts]


def test_a_page_needs_nothing_but_itself(killed: Path, tmp_path: Path, here) -> None:
    ran = here("report", "r", "--html", tmp_path / "r.html", store=killed)
    assert "written: " in ran.out
    page = (tmp_path / "r.html").read_text()
    assert not any(word in page for word in ("http", "src=", "<script", "@import", "<link"))
    plots = svg_elements(page)
    assert [plot.findtext("title") for plot in plots] == [
        "Shares of the wall-clock",
        "Cost of strategies",
        "Step lengths",
        "Stored bytes over time",
    ]
    shares = [float(bar.get("width") or 0) for bar in plots[0].findall("rect")]
    assert sum(shares) == pytest.approx(760, abs=1.0)
    assert "NaN" not in page and "nan" not in page.lower().replace("financ", "")


def test_names_are_escaped_in_a_page(tmp_path: Path, here) -> None:
    with Checkpointer(tmp_path / "s", {"w": 1}, run="<b>x", save=every(steps=1)) as ckpt:
        ckpt.step(0)
    here("report", "<b>x", "--html", tmp_path / "r.html", store=tmp_path / "s")
    assert "&lt;b&gt;x" in (tmp_path / "r.html").read_text()
    assert "<b>x" not in (tmp_path / "r.html").read_text()


def test_metrics_for_prometheus(killed: Path, tmp_path: Path, here) -> None:
    assert here("report", "r", "--prometheus", tmp_path / "m.prom", store=killed).status == 0
    assert 'holdfast_steps{run="r"} 200.0' in (tmp_path / "m.prom").read_text()


def test_advice_on_the_runs_own_figures(killed: Path, here) -> None:
    found = here("advise", "r", "--mtbf-hours", "5", "--json", store=killed).json
    assert found["measured"]["failures"] == 1
    assert found["mtbf_low_s"] < found["mtbf_s"] < found["mtbf_high_s"]
    assert found["interval_s"] == pytest.approx(found["exact_s"], rel=1e-6)
    ran = here("advise", "r", "--budget-gb", "1", store=killed)
    assert "Save every" in ran.out and "90 % sure" in ran.out and "keep.last(" in ran.out
    assert "by itself" in ran.out


def test_a_budget_that_must_last(here, tmp_path: Path) -> None:
    state = {"w": np.zeros(1000)}
    with Checkpointer(tmp_path / "s", state, run="r", save=every(steps=2)) as ckpt:
        for step in range(6):
            ckpt.step(step)
    lasting = ["--budget-gb", "0.1", "--train-hours", "10000"]
    assert "must fit into the budget" in here("advise", "r", *lasting, store=tmp_path / "s").out
    found = here("advise", "r", *lasting, "--json", store=tmp_path / "s").json
    assert found["bounded_by"] == "budget" and found["interval_s"] > 60.0
    alone = here("advise", "r", "--train-hours", "5", store=tmp_path / "s")
    assert alone.status == 2 and "--budget-gb" in alone.err


def test_simulate_by_options(here, tmp_path: Path) -> None:
    options = ["--mtbf-hours", "3", "--durable-seconds", "30", "--histories", "50"]
    ran = here("simulate", *options, "--every-minutes", "30", "--html", tmp_path / "s.html")
    assert ran.status == 0 and "every 30 min" in ran.out and "best: best" in ran.out
    assert len(svg_elements((tmp_path / "s.html").read_text())) == 2
    found = here("simulate", *options, "--json").json
    assert found["histories"] == 50
    by_name = {item["name"]: item for item in found["strategies"]}
    assert by_name["no checkpoints"]["interval_s"] == "Infinity"
    assert by_name["best"]["ettr"]["mean"] > by_name["every hour"]["ettr"]["mean"]


def test_simulate_from_a_file_with_a_trace(here, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("time\n0\n3000\n9000\n")
    (tmp_path / "s.toml").write_text(
        '[job]\ndays = 2\ntrace = "t.csv"\n\n[[strategy]]\nname = "mine"\n'
        "every_minutes = 10\ncost_seconds = 1\n"
    )
    ran = here("simulate", "--config", tmp_path / "s.toml", "--histories", "20")
    assert ran.status == 0 and "mine" in ran.out
    besides = here("simulate", "--config", tmp_path / "s.toml", "--days", "3", "--json")
    assert besides.status == 2 and "--days beside --config" in besides.error["message"]


@pytest.mark.parametrize(
    ("arguments", "kind", "status"),
    [
        (["report", "nothing"], "not-found", 2),
        (["report", "single"], "no-history", 2),
        (["advise", "single"], "no-history", 2),
        (["advise", "r", "--max-overhead", "3"], "usage", 2),
        (["advise", "r", "--budget-gb", "inf"], "usage", 2),
        (["advise", "r", "--budget-gb", "1e300"], "usage", 2),
        (["report", "r", "--budget-gb", "nan"], "usage", 2),
        (["simulate"], "usage", 2),
        (["simulate", "--mtbf-hours", "1", "--nodes", "3"], "usage", 2),
        (["simulate", "--config", "nowhere.toml"], "usage", 2),
        (["simulate", "--mtbf-hours", "3", "--per-node-day", "0.1"], "usage", 2),
        (["simulate", "--trace", "nowhere.csv"], "usage", 2),
        (["simulate", "--mtbf-hours", "1", "--cost-seconds", "-1"], "usage", 2),
        (["simulate", "--mtbf-hours", "1", "--every-minutes", "0"], "usage", 2),
    ],
)
def test_what_is_not_possible_is_said(
    killed: Path, here, arguments: list[str], kind: str, status: int
) -> None:
    package.save(killed, {"w": 1}, run="single", step=0)
    ran = here(*arguments, "--json", store=killed)
    assert (ran.status, ran.error["kind"]) == (status, kind)


def test_a_journal_of_two_runs_is_refused(killed: Path, tmp_path: Path, here) -> None:
    with Checkpointer(tmp_path / "s", {"w": 1}, run="other", save=every(steps=1)) as ckpt:
        ckpt.step(0)
    theirs = (killed / "runs" / "r" / "events.jsonl").read_bytes()
    with open(tmp_path / "s" / "runs" / "other" / "events.jsonl", "ab") as journal:
        journal.write(theirs)
    ran = here("report", "other", "--json", store=tmp_path / "s")
    assert (ran.status, ran.error["kind"]) == (1, "journal-mixed")


MACHINE_DIES = SCRIPT.replace(
    "os.kill(os.getpid(), signal.SIGKILL)",
    """me = os.getpid()
            for child in open(f"/proc/{me}/task/{me}/children").read().split():
                os.kill(int(child), signal.SIGKILL)
            os.kill(me, signal.SIGKILL)""",
)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the persister in /proc")
def test_a_machine_that_dies_leaves_what_was_done_by_its_last_save(tmp_path: Path) -> None:
    script, store = tmp_path / "train.py", tmp_path / "ckpts"
    script.write_text(MACHINE_DIES)
    for kill_at, status in ((KILLED_AT, -signal.SIGKILL), (-1, 0)):
        command = [sys.executable, str(script), str(store), str(kill_at)]
        assert subprocess.run(command, timeout=120, check=False).returncode == status
    found = holdfast("report", "r", "--json", store=store).json
    [item] = found["interruptions"]
    assert (item["how"], item["back_to"]) == ("vanished", 125)
    # What came after its last save nobody can tell; what came before is not lost.
    assert found["steps"] == LAST + 1
    assert found["wall_clock"]["useful_s"] > 0.002 * LAST
    assert any("Nobody saw the end of process 1" in doubt for doubt in found["doubts"])


def test_what_the_store_holds_is_told_for_each_checkpoint(killed: Path, here) -> None:
    found = here("report", "r", "--budget-gb", "0.001", "--json", store=killed).json
    holdings = found["holdings"]
    assert holdings["n_kept"] == 2 and [kept["step"] for kept in holdings["kept"]] == [150, 175]
    packs = [p for p in (killed / "runs" / "r").glob("pa*/*") if p.is_file()]
    assert holdings["used_bytes"] == sum(p.stat().st_size for p in packs)
    assert all(0 < k["alone_bytes"] <= k["needed_bytes"] for k in holdings["kept"])
    assert found["budget_share"] == pytest.approx(holdings["used_bytes"] / 1e6)
    assert "of the budget" in here("report", "r", "--budget-gb", "0.001", store=killed).out
    assert here("report", "r", "--budget-gb", "0", store=killed).status == 2


# --- the events themselves, as a Checkpointer writes them ---


def report_of(path: Path, run: str = "r"):
    return package.Store(path).report(run)


def test_what_a_checkpointer_records(tmp_path: Path) -> None:
    state = {"w": 0}
    with pytest.raises(ZeroDivisionError), Checkpointer(tmp_path, state, run="r") as ckpt:
        for step in range(4):
            ckpt.step(step)
        ckpt.save(3).wait()
        raise ZeroDivisionError
    with Checkpointer(tmp_path, state, run="r") as ckpt:
        ckpt.restore()
        for step in range(ckpt.next_step, 9):
            ckpt.step(step)
        ckpt.restore(3)
        ckpt.step(4)
    found = report_of(tmp_path)
    assert [item.how for item in found.interruptions] == [
        "exception ZeroDivisionError",
        "rolled back",
    ]
    assert (found.steps, found.steps_twice, found.n_saves) == (5, 5, 1)
    assert found.restore_s.n == 2 and found.held_s.n == 1


def test_saves_that_are_skipped_and_that_fail_are_counted(tmp_path: Path) -> None:
    state = {"w": [0.0] * 1000}
    skipping = {"save": every(steps=1), "backpressure": "skip"}
    with Checkpointer(tmp_path, state, run="r", **skipping) as ckpt:
        for step in range(200):
            ckpt.step(step)
    found = report_of(tmp_path)
    assert found.n_skipped > 0
    assert found.n_saves + found.n_skipped == 200


def test_an_adaptive_run_saves_by_itself_and_says_why(tmp_path: Path) -> None:
    policy = adaptive(max_overhead=0.5, mtbf_hours=1e-6)
    state = {"w": 0}
    with Checkpointer(tmp_path, state, run="r", save=policy, keep=keep.all()) as ckpt:
        for step in range(50):
            time.sleep(0.01)
            ckpt.step(step)
    saved = package.Store(tmp_path).log("r")
    assert len(saved) >= 2
    assert all(info.reason.startswith("adaptive, every ") for info in saved)


FORKS = """
import os, sys
from holdfast import Checkpointer, every

with Checkpointer(sys.argv[1], {"w": 1}, run="r", save=every(steps=1)) as ckpt:
    ckpt.step(0)
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
    ckpt.step(1)
"""


def test_a_trainer_that_forks_leaves_one_history(tmp_path: Path) -> None:
    # In an interpreter of its own: this one may hold the threads of a framework.
    subprocess.run([sys.executable, "-c", FORKS, str(tmp_path)], timeout=120, check=True)
    found = report_of(tmp_path)
    assert (found.n_processes, found.steps, found.doubts) == (1, 2, ())
