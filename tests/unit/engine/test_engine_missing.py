"""Commit records that are gone, though nobody has removed their checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, every, keep
from holdfast.errors import NoGoodCheckpoint, NotFound

RUN = "r"


def trained(store: Path, first: int, last: int, **options: Any) -> holdfast.Restored | None:
    """Go on with a run, and save at each step; the state says which step it is of."""
    state = {"w": np.zeros(3000)}
    with Checkpointer(store, state, run=RUN, save=every(steps=1), **options) as ckpt:
        restored = ckpt.restore()
        for step in range(first, last + 1):
            state["w"] += 1
            ckpt.step(step)
    return restored


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Steps 1 to 6, of which 4 to 6 are kept."""
    trained(tmp_path / "s", 1, 6, keep=keep.last(3))
    return tmp_path / "s"


@pytest.fixture
def backup(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "backup"))


def lose(store: Path, *numbers: int) -> None:
    for number in numbers:
        (store / f"runs/{RUN}/commits/{number:012d}").unlink()


def steps(store: Path) -> list[int]:
    return [info.step for info in holdfast.Store(store).log(RUN)]


def objects(store: Path) -> dict[str, bytes]:
    kinds = ("commits", "packs", "parts")
    found = [path for kind in kinds for path in (store / "runs" / RUN / kind).iterdir()]
    return {str(path.relative_to(store)): path.read_bytes() for path in found}


def test_verify_and_doctor_tell(store: Path) -> None:
    opened = holdfast.Store(store)
    assert opened.verify().ok and opened.doctor().problems == ()
    lose(store, 5)
    report = opened.verify()
    assert not report.ok and [check.ok for check in report.checkpoints] == [True, True]
    for problems in (report.problems, opened.verify(RUN).problems, opened.doctor().problems):
        (problem,) = problems
        assert "commit record of r@5 (runs/r/commits/000000000005) is missing" in problem


def test_what_was_removed_is_not_missed(store: Path) -> None:
    opened = holdfast.Store(store)
    opened.remove("r@4")
    opened.prune(RUN, keep.last(1))
    assert steps(store) == [6] and opened.verify().ok


def test_nothing_of_it_is_taken_away(store: Path) -> None:
    (last,) = holdfast.Store(store).log(RUN)[-1:]
    written = {key: data for key, data in objects(store).items() if last.id in key}
    assert len(written) == 2
    lose(store, last.seq)
    opened = holdfast.Store(store)
    report = opened.repair()
    assert not report.ok and ["r@6" in lost for lost in report.lost] == [True]
    opened.prune(RUN, keep.last(1))
    trained(store, 6, 7)
    assert written.items() <= objects(store).items()


def test_training_goes_on_from_the_one_before_and_says_so(store: Path) -> None:
    lose(store, 6)
    restored = trained(store, 6, 7)
    assert restored is not None and restored.step == 5
    assert ["r@6" in text for text in restored.stepped_over] == [True]
    assert steps(store) == [4, 5, 6, 7]
    assert holdfast.load(store, "r@7")["w"][0] == 7


def test_training_does_not_begin_anew_where_all_are_lost(store: Path) -> None:
    lose(store, 4, 5, 6)
    with pytest.raises(NoGoodCheckpoint, match="r@5"):
        trained(store, 1, 2)
    assert holdfast.Store(store).verify().checkpoints == []


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_copy_brings_it_back(store: Path, backup: Path, goes_on: bool) -> None:
    lose(store, 6)
    if goes_on:
        trained(store, 6, 7)
    opened = holdfast.Store(store)
    assert [fixed.key for fixed in opened.repair([backup], dry_run=True).fixed] == [
        "runs/r/commits/000000000006"
    ]
    assert steps(store)[:3] == ([4, 5, 6] if goes_on else [4, 5])
    report = opened.repair([backup])
    assert report.ok and opened.verify().ok
    assert objects(backup).items() <= objects(store).items()
    assert steps(store) == ([4, 5, 6, 6, 7] if goes_on else [4, 5, 6])


def test_another_runs_record_is_not_taken(store: Path, tmp_path: Path) -> None:
    trained(tmp_path / "other", 1, 6, keep=keep.last(3))
    lose(store, 6)
    report = holdfast.Store(store).repair([tmp_path / "other"])
    assert not report.ok and report.fixed == [] and steps(store) == [4, 5]


def test_it_can_be_given_up(store: Path) -> None:
    opened = holdfast.Store(store)
    id_of_it = opened.info("r@5").id
    lose(store, 5)
    assert opened.remove("r@5").freed_bytes > 0
    assert opened.verify().ok and f"runs/r/parts/{id_of_it}-00000" not in objects(store)
    with pytest.raises(NotFound):
        opened.remove("r@5")


def test_where_a_record_is_damaged_none_is_missed(store: Path) -> None:
    (store / "runs/r/commits/000000000005").write_bytes(b"{")
    report = holdfast.Store(store).verify()
    assert report.problems == () and [check.ok for check in report.checkpoints].count(False) == 1


def test_an_unfinished_save_is_no_checkpoint_that_is_missed(store: Path) -> None:
    journal = store / "runs/r/events.jsonl"
    lines = journal.read_text().splitlines()
    told = [line for line in lines if '"saved"' in line and json.loads(line)["step"] == 6]
    journal.write_text("\n".join(line for line in lines if line not in told))
    (last,) = holdfast.Store(store).log(RUN)[-1:]
    lose(store, 6)
    opened = holdfast.Store(store)
    assert opened.verify().ok and opened.repair().ok
    assert not any(last.id in key for key in objects(store))
