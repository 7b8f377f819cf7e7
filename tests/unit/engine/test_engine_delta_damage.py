"""Checkpoints stored as differences, where some of their bytes are damaged: told, repaired."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from delta_states import NAMES, base_of, check_all, flip, part_of, row_of, same, save, states, zeros

import holdfast
from holdfast import Checkpointer, Store, errors
from holdfast.chunks.encoder import Compress


@pytest.mark.parametrize("at", [0, 1, 4, 5, 100, 50_000])
@pytest.mark.parametrize("which", ["delta", "base"])
def test_a_flipped_bit_is_found_before_anything_changes(
    tmp_path: Path, which: str, at: int
) -> None:
    made = states(2)
    save(tmp_path, made)
    part = part_of(tmp_path, 2)
    flip(tmp_path, part, row_of(part, "w") if which == "delta" else base_of(part), at)
    into = zeros(made[1])
    with pytest.raises(errors.ChunkDamaged, match="'w'"):
        holdfast.load(tmp_path, "r@1", into=into, only=NAMES)
    assert same(into, zeros(made[1]))
    with pytest.raises(errors.ChunkDamaged):
        holdfast.load(tmp_path, "r@1")
    report = Store(tmp_path).verify("r@1")
    assert not report.ok and all("'w'" in text for text in report.checkpoints[0].problems)
    assert len(report.checkpoints[0].problems) == (1 if which == "delta" else 2)
    # Nothing else is harmed.
    assert holdfast.load(tmp_path, "r@1", only="raw")["raw"].tobytes() == made[1]["raw"].tobytes()


def test_training_goes_on_from_the_newest_good_one(tmp_path: Path) -> None:
    made = states(3)
    save(tmp_path, made)
    part = part_of(tmp_path, 3)
    flip(tmp_path, part, row_of(part, "w"), 70_000)
    into = zeros(made[0])
    with Checkpointer(tmp_path, into, run="r", rng=False, compress="delta") as ckpt:
        assert ckpt.restore(strict=False) is not None and ckpt.next_step == 2
        assert same(into, made[1])
        ckpt.save(7).wait()
    assert same(holdfast.load(tmp_path, "r@7"), made[1])


def test_a_pack_that_is_gone_is_told(tmp_path: Path) -> None:
    made = states(2)
    save(tmp_path, made)
    part = part_of(tmp_path, 2)
    os.unlink(tmp_path / part.packs[base_of(part).pack].key)
    with pytest.raises(errors.DataError):
        holdfast.load(tmp_path, "r@1")
    assert not Store(tmp_path).verify("r@1").ok


@pytest.mark.parametrize("stays", [False, True])
def test_nothing_new_depends_on_what_is_damaged(tmp_path: Path, stays: bool) -> None:
    """By a process that comes and goes, and by one that stays and has seen it good."""
    made = states(4)
    if stays:
        held = {name: made[0][name].copy() for name in NAMES}
        with Checkpointer(tmp_path, held, run="r", rng=False, compress="delta") as ckpt:
            for step in range(2):
                held["w"][...] = made[step]["w"]
                ckpt.save(step).wait()
            part = part_of(tmp_path, 2)
            flip(tmp_path, part, base_of(part), 50_000)
            # It has not changed, and was a difference from it: it is written again.
            ckpt.save(2).wait()
            held["w"][...] = made[3]["w"]
            ckpt.save(3).wait()
        assert holdfast.load(tmp_path, "r@2")["w"].tobytes() == made[1]["w"].tobytes()
        assert holdfast.load(tmp_path, "r@3")["w"].tobytes() == made[3]["w"].tobytes()
    else:
        save(tmp_path, made[:2])
        part = part_of(tmp_path, 2)
        flip(tmp_path, part, base_of(part), 50_000)
        save(tmp_path, [{**made[2], "w": made[1]["w"]}, made[3]], first=2)
        assert holdfast.load(tmp_path, "r@2")["w"].tobytes() == made[1]["w"].tobytes()
        assert same(holdfast.load(tmp_path, "r@3"), made[3])
    good = [check.ok for check in Store(tmp_path).verify().checkpoints]
    assert good == [False, False, True, True]


# --- repair ---


@pytest.mark.parametrize("harmed", ["base", "delta", "both"])
@pytest.mark.parametrize("elsewhere", ["none", "planes", "delta"])
def test_repair_from_a_copy_that_is_stored_another_way(
    tmp_path: Path, harmed: str, elsewhere: Compress
) -> None:
    made, here, there = states(3), tmp_path / "here", tmp_path / "there"
    save(here, made)
    save(there, made, elsewhere)
    part = part_of(here, 3)
    for name in ("w", "raw"):
        if harmed != "delta":
            flip(here, part, base_of(part, name), 70_000)
        if harmed != "base":
            flip(here, part, row_of(part, name), 7000)
    assert not Store(here).verify().ok
    planned = Store(here).repair([there], dry_run=True)
    assert not planned.lost and planned.fixed
    assert Store(here).repair([there]).ok
    assert Store(here).verify().ok
    check_all(here, made)


def test_repair_of_a_base_alone_puts_its_deltas_right(tmp_path: Path) -> None:
    """The other store has nothing of the later checkpoint."""
    made, here, there = states(2), tmp_path / "here", tmp_path / "there"
    save(here, made)
    save(there, made[:1], "planes")
    part = part_of(here, 2)
    flip(here, part, base_of(part), 70_000)
    report = Store(here).repair([there])
    assert report.ok and [fixed.key for fixed in report.fixed] == [
        part.packs[base_of(part).pack].key
    ]
    check_all(here, made)


def test_what_cannot_be_repaired_is_told(tmp_path: Path) -> None:
    made = states(2)
    save(tmp_path, made)
    part = part_of(tmp_path, 2)
    flip(tmp_path, part, base_of(part), 70_000)
    report = Store(tmp_path).repair()
    assert not report.ok and report.lost
