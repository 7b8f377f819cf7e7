"""A small version of the fault matrix: no cell of it may be bad."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import pytest

import holdfast
from absent import absent
from faults import crash_states, report
from faults.children import carried_out
from faults.effort import SMALL
from faults.flips import Damage
from faults.fuse_disk import FLUSH, HEADER, WRITE, Flush, Write, events
from faults.matrix import FAMILIES, PEERS, Result, run_one
from faults.outcomes import Cell, Ended, Found, How, Outcome, Trial, cells, outcome_of
from faults.peers.compared import Compared, damaged
from faults.scenario import OPERATIONS, Stage, look, small_packs


@pytest.mark.parametrize("name", FAMILIES)
def test_no_cell_is_bad(name: str) -> None:
    result = run_one(name, SMALL)
    assert not result.broken, result.broken
    assert not result.bad
    if result.missing:
        absent(f"NOT ALL FAULTS OF {name.upper()} WERE MADE: {result.missing}")
    assert result.trials


def test_the_same_damage_is_done_to_peers(tmp_path: Path) -> None:
    """holdfast lets nothing through; a format without checksums does."""
    found = {
        tool: damaged(tool, "", sys.executable, tmp_path, SMALL.peer_flips)
        for tool in ("holdfast", "safetensors")
    }
    assert all(sum(f.counts.values()) == SMALL.peer_flips for f in found.values()), found
    assert set(found["holdfast"].counts) <= {"intact", "refused"}
    assert found["safetensors"].counts["silent"] > SMALL.peer_flips // 3


# --- the matrix would notice ---


def test_the_worst_that_was_found_is_the_outcome() -> None:
    done = Ended(How.RETURNED)
    assert outcome_of(done, Found()) is Outcome.DONE
    assert outcome_of(done, Found(unusable=("x",))) is Outcome.UNUSABLE
    assert outcome_of(done, Found(lost=("x",), unusable=("x",))) is Outcome.LOST
    assert outcome_of(done, Found(("x",), ("x",), ("x",))) is Outcome.SILENT
    assert outcome_of(Ended(How.DIFFERED), Found()) is Outcome.SILENT
    assert outcome_of(Ended(How.REFUSED, "why"), Found()) is Outcome.REFUSED
    assert outcome_of(Ended(How.REFUSED, " "), Found()) is Outcome.UNCLEAR
    assert outcome_of(Ended(How.RAISED, "KeyError"), Found()) is Outcome.UNCLEAR
    assert not any(Cell({bad: 1, Outcome.DONE: 9}).is_good for bad in Outcome if not bad.is_good)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    with small_packs():
        return Stage(tmp_path / "stage")


def test_what_is_lost_or_different_is_found(stage: Stage, tmp_path: Path) -> None:
    store, save = tmp_path / "store", OPERATIONS["save"]
    struck = Ended(How.STRUCK)
    stage.set_up(save, store)
    assert outcome_of(struck, look(save, struck, store, stage.source)) is Outcome.RESUMED

    stage.set_up(save, store)
    holdfast.Store(store).remove("run@2")
    assert outcome_of(struck, look(save, struck, store, stage.source)) is Outcome.LOST

    stage.set_up(save, store)
    holdfast.save(store, {"other": 1}, run="run", step=2, rng=False)
    assert outcome_of(struck, look(save, struck, store, stage.source)) is Outcome.SILENT

    stage.set_up(save, store)
    holdfast.save(store, {"other": 1}, run="run", step=77, rng=False)
    assert outcome_of(struck, look(save, struck, store, stage.source)) is Outcome.SILENT

    stage.set_up(save, store)
    (store / "runs" / "run" / "packs" / ("f" * 32 + "-00000")).write_bytes(b"debris")
    (store / "runs" / "run" / "commits" / "000000000099").write_bytes(b"no commit")
    assert outcome_of(struck, look(save, struck, store, stage.source)) is Outcome.UNUSABLE

    stage.set_up(save, store)
    returned = Ended(How.RETURNED)
    assert outcome_of(returned, look(save, returned, store, stage.source)) is Outcome.LOST


def test_how_a_process_ends_is_told_apart() -> None:
    def crash() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "still there"

    def refuse() -> str:
        raise holdfast.errors.NoSpace("full", key="runs/run/commits/1")

    assert carried_out(lambda: "").how is How.RETURNED
    assert carried_out(lambda: "differs").how is How.DIFFERED
    assert carried_out(crash).how is How.CRASHED
    assert carried_out(lambda: str(1 // 0)).how is How.RAISED
    refused = carried_out(refuse)
    assert refused.how is How.REFUSED and refused.facts["key"] == "runs/run/commits/1"


def test_a_bad_trial_makes_a_bad_cell_and_is_shown() -> None:
    trials = [Trial("f", "save", Outcome.DONE), Trial("f", "save", Outcome.LOST, "here", "why")]
    result = Result("kills", trials)
    assert not result.is_good
    assert report.cell_text(cells(trials)["f"]["save"]) == "1 done, 1 A COMMITTED CHECKPOINT LOST"
    told = report.as_json([result])
    assert not told["good"] and told["bad"][0]["where"] == "here"


def test_the_page_is_rewritten_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Head\n{report.BEGIN}\nold\n{report.END}\ntail\n")
    peers = Result(
        PEERS, peers=[Compared("a tool", "1.0", {"silent": 3}), Compared("b", absent="x")]
    )
    report.write([Result("kills", [Trial("a kill", "tag", Outcome.RESUMED)]), peers], page)
    text = page.read_text()
    assert text.startswith("# Head\n") and text.endswith("tail\n") and "old" not in text
    assert "| a kill |  |  |  |  |  | 1 resumed |  |" in text
    assert "| a tool 1.0 | 0 | 0 | 3 | 0 | 0 |" in text


def test_every_choice_of_a_few_writes_is_a_crash_state() -> None:
    found = crash_states.choices(3, random.Random(0))
    assert len(found) == len(set(found)) == 8
    many = crash_states.choices(30, random.Random(0))
    assert {tuple(range(n)) for n in range(31)} <= set(many)


def test_damage_changes_one_bit_or_cuts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for damage, expected in ((Damage("file", 1, 4), b"afc"), (Damage("file", 2), b"ab")):
        path.write_bytes(b"abc")
        damage.apply(path, b"abc")
        assert path.read_bytes() == expected


def test_recorded_writes_are_read_back() -> None:
    log = HEADER.pack(WRITE, 512, 3) + b"abc" + HEADER.pack(FLUSH, 0, 0)
    assert list(events(log)) == [Write(512, b"abc"), Flush()]
