"""What is decided before anything is run: faults, moments, copies, the report for CI."""

import random
import signal
from xml.etree import ElementTree

import pytest

from holdfast.drill.checkpoint_files import Found
from holdfast.drill.compare import Difference
from holdfast.drill.diagnosis.cause import Cause
from holdfast.drill.faults import FAULTS, affordable, chosen
from holdfast.drill.junit import junit
from holdfast.drill.record import Life, Sighting
from holdfast.drill.report import DrillReport, Outcome, Undisturbed
from holdfast.drill.strikes import AtEffect, AtRow, AtSight, Shown, at_random, in_save
from holdfast.drill.trace import SaveSeen, StepRow, Trace, parse_trace
from holdfast.drill.work_folder import filled, fresh
from holdfast.errors import NotFound, UsageError


def shown(rows=0, lines=0, effects=(), saves=()):
    trace = Trace("o" if rows else None, {"0": (StepRow(),) * rows}, saves)
    life = Life(0, 10.0, ("",) * lines, trace)
    seen = Sighting(min(5, rows), min(5, lines), 2.0, n_writes=6, peak_bytes=9, effects=effects)
    return Shown(life, seen, Found((), {}))


def test_moments_are_between_the_first_checkpoint_and_the_end():
    for seed in range(200):
        chance = random.Random(seed)
        row = at_random(shown(rows=30), chance, signal.SIGKILL)
        assert isinstance(row, AtRow) and 5 <= row.row <= 28
        lines = at_random(shown(lines=30), chance, signal.SIGTERM)
        assert isinstance(lines, AtSight) and 5 < (lines.lines or 0) < 30
        moment = at_random(shown(), chance, signal.SIGKILL)
        assert isinstance(moment, AtSight) and 2.0 <= (moment.seconds or 0) <= 9.0
        hurried = at_random(shown(rows=30), chance, signal.SIGKILL, hurry=2)
        assert isinstance(hurried, AtRow) and hurried.row <= 9
        soon = at_random(shown(), chance, signal.SIGKILL, hurry=2)
        # Earlier than the first checkpoint was: it waits for that one, which may come sooner.
        assert isinstance(soon, AtSight) and (soon.seconds or 9.0) < 2.0
    assert at_random(shown(rows=30), random.Random(1), signal.SIGTERM).delay_s == 0.0


def test_a_kill_in_a_save_is_within_one_that_is_not_the_first():
    effects = ("mkdir", *("write", "fsync", "link") * 10)
    moments = set()
    for seed in range(100):
        strike = in_save(shown(effects=effects), random.Random(seed))
        assert isinstance(strike, AtEffect) and strike.at > 8
        assert (strike.kill, effects[strike.at]) in {("within", "write"), ("before", "link")}
        moments.add(strike.at)
        saves = tuple(SaveSeen("last.pt", n, 0.5) for n in (5, 10))
        save = in_save(shown(rows=20, saves=saves), random.Random(seed))
        assert isinstance(save, AtRow) and (save.kind, save.row) == ("s", 1)
        assert 0.0 < save.delay_s <= 0.51
        other = in_save(shown(), random.Random(seed))
        assert isinstance(other, AtSight) and 2 <= (other.writes or 0) <= 6
        # A script that keeps a best one and a last one goes on from the last: not before that.
        both = [*("best.pt",) * 3, "step-7.pt", "best.pt", "step-14.pt", "best.pt", "swa.pt"]
        saves = tuple(SaveSeen(path, n, 0.5) for n, path in enumerate(both))
        save = in_save(shown(rows=20, saves=saves), random.Random(seed))
        assert isinstance(save, AtRow) and 4 <= save.row < 8
    # Within any of the others, but for the last, which another run may do without.
    assert moments == {n for n in range(10, 28) if effects[n] in ("write", "link")}


def test_faults_are_chosen_by_name_and_by_what_there_is():
    faults, left = chosen([], has_world=False)
    assert len(faults) + 1 == len(FAULTS) and [s.fault.name for s in left] == ["world"]
    assert [f.name for f in chosen(["stop", "kill"], has_world=False)[0]] == ["kill", "stop"]
    assert affordable(FAULTS[0], 1.0, 10.0) and not affordable(FAULTS[0], 10.0, 10.0)
    with pytest.raises(UsageError, match="no fault flood"):
        chosen(["flood"], has_world=True)


def test_a_copy_leaves_out_what_would_let_a_run_begin_half_way(tmp_path):
    source = tmp_path / "source"
    for name in ("train.py", "ckpts/holdfast.json", ".git/HEAD", "old/last.pt", "data/big.bin"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    folder = fresh(source, tmp_path / "run", ["old"], ["data"])
    assert sorted(p.name for p in folder.work.iterdir()) == ["data", "train.py"]
    assert (folder.work / "data").is_symlink()
    assert (folder.work / "data/big.bin").read_text() == "data/big.bin"
    assert list(folder.files()) == []
    (folder.work / "new.pt").write_text("x")
    assert [name for name, _ in folder.files()] == ["work/new.pt"]
    command = filled(["python", "t.py", "--out={out}", "{world}"], folder, 2)
    assert command == ["python", "t.py", f"--out={folder.out}", "2"]
    with pytest.raises(NotFound):
        fresh(tmp_path / "nowhere", tmp_path / "other", [], [])


def test_a_link_that_leads_out_is_refused_unless_it_is_only_read(tmp_path):
    source, outside = tmp_path / "source", tmp_path / "outside"
    source.mkdir()
    outside.mkdir()
    (source / "real.txt").write_text("1")
    (source / "alias.txt").symlink_to(source / "real.txt")
    (source / "ckpts").symlink_to(outside)
    with pytest.raises(UsageError, match="--share ckpts if it is only read"):
        fresh(source, tmp_path / "one", [], [])
    folder = fresh(source, tmp_path / "two", ["ckpts"], [])
    assert sorted(p.name for p in folder.work.iterdir()) == ["alias.txt", "real.txt"]
    assert not (folder.work / "alias.txt").is_symlink()
    shared = fresh(source, tmp_path / "three", [], ["ckpts"])
    assert (shared.work / "ckpts").resolve() == outside


def test_a_trace_that_was_cut_short_by_a_kill_is_read_as_far_as_it_goes():
    lines = [
        '{"kind": "s", "n": 0, "rank": "0", "t": 1.0, "path": "a"}',
        '{"kind": "e", "n": 0, "rank": "0", "t": 1.5, "path": "a"}',
        '{"kind": "c", "n": 0, "rank": "0", "t": 2.0, "step": 7, "rng": {"numpy": "x"}}',
        '{"kind": "c", "n": 1, "ra',
    ]
    trace = parse_trace([lines, ["", "nonsense", "[]"]])
    assert trace.kind == "c" and [row.step for row in trace.main] == [7]
    assert trace.saves == (SaveSeen("a", 0, 0.5),)


def test_the_report_for_ci_holds_whatever_a_script_prints():
    undisturbed = Undisturbed(
        1.0, 9, ("last.pt",), 3, ("loss",), True, Difference(), (), (), (), "nothing"
    )
    cause = Cause("rng", 'RNG <of> "NumPy" & \x1b[31mco\x00')
    outcomes = (
        Outcome("kill", "SIGKILL", "failed", "differs", (cause,), output=("\x07 ]]>",)),
        Outcome("stop", "SIGSTOP", "skipped", "no time"),
        Outcome("damaged", "cut", "warned", "stops"),
    )
    report = DrillReport(("python", "t.py"), undisturbed, outcomes, 0, 3.0)
    suite = ElementTree.fromstring(junit(report).split("\n", 1)[1])[0]
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["skipped"]) == (
        "4",
        "1",
        "1",
    )
    failure = suite[1][0]
    assert failure.attrib["message"].startswith('RNG <of> "NumPy" & ?[31mco?')
    assert not report.is_exact
    passed = Outcome("kill", "SIGKILL", "passed", "same")
    assert DrillReport((), undisturbed, (passed, *outcomes[1:]), 0, 3.0).is_exact
    # Nothing tried, nothing proven.
    assert not DrillReport((), undisturbed, outcomes[1:], 0, 3.0).is_exact
