"""Checkpoints stored as differences, end to end: saved, restored, damaged, repaired, copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, Store, errors, keep
from holdfast.chunks.deltas import MAX_AGE
from holdfast.chunks.encoder import Compress
from holdfast.convert.exporting import export
from holdfast.format.codecs import DELTA, PLANES, RAW
from holdfast.format.part import ChunkRow, Part
from holdfast.records import commits
from holdfast.records.marker import open_store

Tree = dict[str, Any]


def begun() -> Tree:
    """Weights that will take small steps, noise that will be other noise, and what stays."""
    rng = np.random.default_rng(0)
    return {
        "w": (rng.standard_normal((700, 500)) * 0.02).astype(np.float32),
        "noise": rng.integers(0, 256, 300_001, dtype=np.uint8),
        "raw": rng.integers(0, 256, 400_003, dtype=np.uint8),
        "still": np.arange(100_000),
        "small": [np.full(7, 0, np.int16), np.arange(5.0)],
    }


def stepped(tree: Tree, step: int) -> Tree:
    """The next state: ``w`` moves a little, some of ``raw`` changes, all of ``noise`` does."""
    rng = np.random.default_rng(step)
    raw = tree["raw"].copy()
    raw[rng.integers(0, raw.size, 2000)] ^= 1
    w = tree["w"] + (rng.standard_normal(tree["w"].shape) * 2e-7).astype(np.float32)
    noise = rng.integers(0, 256, 300_001, dtype=np.uint8)
    return {**tree, "w": w, "raw": raw, "noise": noise, "small": [np.full(7, step), tree["small"]]}


def states(count: int) -> list[Tree]:
    made = [begun()]
    for step in range(1, count):
        made.append(stepped(made[-1], step))
    return made


def save(where: Any, made: Sequence[Tree], compress: Compress = "delta", first: int = 0) -> None:
    for step, tree in enumerate(made, first):
        holdfast.save(where, tree, run="r", step=step, rng=False, compress=compress)


NAMES = ("w", "noise", "raw", "still")


def same(found: Tree, expected: Tree) -> bool:
    return all(found[n].tobytes() == expected[n].tobytes() for n in NAMES)


def zeros(tree: Tree) -> Tree:
    return {name: np.zeros_like(tree[name]) for name in NAMES}


def check_all(where: Any, made: Sequence[Tree]) -> None:
    for step, tree in enumerate(made):
        for verify in ("fast", "full"):
            assert same(holdfast.load(where, f"r@{step}", verify=verify), tree)
            into = zeros(tree)
            holdfast.load(where, f"r@{step}", into=into, only=NAMES, verify=verify)
            assert same(into, tree)


def part_of(location: Any, seq: int, *, keys: Any = None) -> Part:
    store = open_store(location, create=False, keys=keys)
    record = commits.read_commit(store, "r", seq)
    return commits.read_part(store, record, record.parts[0])


def row_of(part: Part, name: str) -> ChunkRow:
    """The first chunk of an array, which in these states come in the order of their names here."""
    return part.chunks[NAMES.index(name)]


def codecs(location: Any, seq: int) -> list[int]:
    return [row_of(part_of(location, seq), name).codec for name in NAMES]


def flip(location: Path, part: Part, row: ChunkRow, at: int) -> None:
    # In an encrypted store the folder of the run has another name.
    (path,) = location.glob(f"runs/*/packs/{part.packs[row.pack].key.rpartition('/')[2]}")
    data = bytearray(path.read_bytes())
    data[row.offset + at] ^= 4
    path.write_bytes(data)


def base_of(part: Part, name: str = "w") -> ChunkRow:
    base = row_of(part, name).base
    assert base is not None
    return part.chunks[base]


# --- saving and restoring ---


def test_small_steps_are_stored_as_differences_and_come_back(tmp_path: Path) -> None:
    made = states(3)
    save(tmp_path / "s", made)
    save(tmp_path / "p", made, "planes")
    assert [codecs(tmp_path / "s", seq) for seq in (1, 2, 3)] == [
        [PLANES, RAW, RAW, PLANES],
        [DELTA, RAW, DELTA, PLANES],
        [DELTA, RAW, DELTA, PLANES],
    ]
    part, first = part_of(tmp_path / "s", 3), part_of(tmp_path / "s", 1)
    # Both are differences from the first, not from each other: a chunk is two reads at most.
    assert base_of(part).digest == row_of(first, "w").digest
    assert base_of(part, "raw").digest == row_of(first, "raw").digest
    assert all(part.chunks[row.base].codec != DELTA for row in part.chunks if row.base is not None)
    assert row_of(part, "w").stored_length < 0.6 * base_of(part).stored_length
    stored = [sum(info.stored_bytes for info in Store(tmp_path / n).log("r")) for n in "sp"]
    assert stored[0] < 0.75 * stored[1]
    check_all(tmp_path / "s", made)
    assert Store(tmp_path / "s").verify().ok


def test_bfloat16_weights_one_save_apart_take_a_quarter(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(1_000_000, generator=generator, dtype=torch.float64) * 0.02
    infos, made = [], []
    for step in range(2):
        made.append((w * (1 + step * 1e-3)).to(torch.bfloat16))
        tree = {"w": made[-1]}
        infos.append(holdfast.save(tmp_path, tree, run="r", step=step, rng=False, compress="delta"))
    assert not torch.equal(made[0], made[1])
    assert infos[1].stored_bytes < infos[1].state_bytes / 4
    assert torch.equal(holdfast.load(tmp_path, "r@1")["w"], made[1])


def test_after_some_saves_a_chunk_is_stored_whole_again(tmp_path: Path) -> None:
    made = states(MAX_AGE + 4)
    save(tmp_path, made)
    of_w = [codecs(tmp_path, seq)[0] for seq in range(1, len(made) + 1)]
    assert of_w == [PLANES, *[DELTA] * MAX_AGE, PLANES, DELTA, DELTA]
    assert (
        base_of(part_of(tmp_path, len(made))).digest
        == row_of(part_of(tmp_path, MAX_AGE + 2), "w").digest
    )
    check_all(tmp_path, made)


@pytest.mark.parametrize("kept", [1, 3])
def test_a_run_keeps_what_its_checkpoints_differ_from(tmp_path: Path, kept: int) -> None:
    held, made = begun(), states(2 * MAX_AGE + 4)
    seen = []
    with Checkpointer(
        tmp_path, held, run="r", keep=keep.last(kept), compress="delta", rng=False
    ) as ckpt:
        for step, tree in enumerate(made):
            for name in NAMES:
                held[name][...] = tree[name]
            ckpt.save(step).wait()
            seen.append(codecs(tmp_path, step + 1)[0])
    assert seen == [PLANES, *[DELTA] * MAX_AGE, PLANES, *[DELTA] * MAX_AGE, PLANES, DELTA]
    assert [info.step for info in Store(tmp_path).log("r")] == list(
        range(len(made) - kept, len(made))
    )
    assert Store(tmp_path).verify().ok
    for step in range(len(made) - kept, len(made)):
        assert same(holdfast.load(tmp_path, f"r@{step}"), made[step])
    # What the last ones differ from, and what is frozen since the first, are all that is left of
    # the others.
    named = {pack.key for n in range(kept) for pack in part_of(tmp_path, len(made) - n).packs}
    there = {str(p.relative_to(tmp_path)) for p in tmp_path.glob("runs/r/packs/*")}
    assert there == named
    again = zeros(held)
    with Checkpointer(tmp_path, again, run="r", compress="delta", rng=False) as ckpt:
        assert ckpt.restore(strict=False) is not None
        assert same(again, made[-1])


def test_only_the_newest_is_left_and_nothing_it_needs_is_missing(tmp_path: Path) -> None:
    made = states(4)
    save(tmp_path, made)
    Store(tmp_path).prune("r", keep.last(1))
    assert [info.step for info in Store(tmp_path).log("r")] == [3]
    assert len(list(tmp_path.glob("runs/r/packs/*"))) == 2
    assert Store(tmp_path).verify().ok and same(holdfast.load(tmp_path, "r@3"), made[3])
    # Others may build on it, whatever they are told.
    more = [stepped(made[3], 4), stepped(made[3], 5)]
    save(tmp_path, more[:1], "none", first=4)
    save(tmp_path, more[1:], "delta", first=5)
    Store(tmp_path).prune("r", keep.last(1))
    assert Store(tmp_path).verify().ok and same(holdfast.load(tmp_path, "r@5"), more[1])


def test_what_stays_as_it_is_does_not_hold_old_packs_for_ever(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    held = {
        "large": rng.integers(0, 256, 8 << 20, dtype=np.uint8),
        "w": rng.integers(0, 256, 400_000, dtype=np.uint8),
    }
    with Checkpointer(tmp_path, held, run="r", keep=keep.last(1), compress="delta", rng=False) as c:
        for step in range(7):
            held["large"][:] = rng.integers(0, 256, 8 << 20, dtype=np.uint8)
            if step == 1:
                held["w"][:100] ^= 1
            c.save(step).wait()
            if step == 1:
                assert part_of(tmp_path, 2).chunks[1].codec == DELTA
    # Retention may be a save behind.
    Store(tmp_path).prune("r", keep.last(1))
    # It was a delta of something in the first pack, whose other bytes nobody needs.
    assert sum(p.stat().st_size for p in tmp_path.glob("runs/r/packs/*")) < 10 << 20
    assert Store(tmp_path).verify().ok
    assert holdfast.load(tmp_path, "r@latest")["w"].tobytes() == held["w"].tobytes()


def test_unchanged_chunks_stay_deltas_whatever_is_asked_for_later(tmp_path: Path) -> None:
    made = states(2)
    save(tmp_path, made)
    info = holdfast.save(tmp_path, {**made[1], "n": 1}, run="r", step=2, rng=False)
    assert info.stored_bytes < 40_000 and codecs(tmp_path, 3) == codecs(tmp_path, 2)
    Store(tmp_path).prune("r", keep.last(1))
    assert Store(tmp_path).verify().ok and same(holdfast.load(tmp_path, "r@2"), made[1])


def test_a_state_that_was_given_more_leaves_comes_back_too(tmp_path: Path) -> None:
    made = states(2)
    more = {"first": np.arange(90_000.0), **made[1]}
    save(tmp_path, [made[0], more])
    assert same(holdfast.load(tmp_path, "r@1"), more)
    assert DELTA not in {row.codec for row in part_of(tmp_path, 2).chunks[:4]}
    later = {**more, "w": stepped(made[1], 2)["w"]}
    save(tmp_path, [later], first=2)
    assert part_of(tmp_path, 3).chunks[1].codec == DELTA
    assert same(holdfast.load(tmp_path, "r@2"), later)


def test_a_part_of_it_can_be_loaded_and_differences_told(tmp_path: Path) -> None:
    made = states(3)
    save(tmp_path, made)
    found = holdfast.load(tmp_path, "r@2", only="raw")
    assert list(found) == ["raw"] and found["raw"].tobytes() == made[2]["raw"].tobytes()
    report = Store(tmp_path).diff("r@1", "r@2")
    changed = {tensor.path for tensor in report.tensors if tensor.is_changed}
    assert {"w", "noise", "raw"} <= changed and "still" not in changed
    (raw,) = (t.movement for t in report.tensors if t.path == "raw")
    assert raw is not None
    assert raw.n_changed == np.count_nonzero(made[1]["raw"] != made[2]["raw"])


def test_it_is_exported(tmp_path: Path) -> None:
    made = states(2)
    save(tmp_path / "s", made)
    export(tmp_path / "s", "r@1", tmp_path / "out.npz", format="npz")
    with np.load(tmp_path / "out.npz") as found:
        assert all(found[name].tobytes() == made[1][name].tobytes() for name in NAMES)


# --- copies ---


def test_copies_are_complete_and_small(tmp_path: Path) -> None:
    made = states(3)
    save(tmp_path / "s", made)
    store = Store(tmp_path / "s")
    first = store.copy("r@1", tmp_path / "t")
    second = store.copy("r@2", tmp_path / "t")
    shutil.rmtree(tmp_path / "s")
    # The first one stands by itself, and the second one is a difference from it.
    assert codecs(tmp_path / "t", 1)[0] == PLANES and codecs(tmp_path / "t", 2)[0] == DELTA
    assert second.stored_bytes < 0.85 * first.stored_bytes
    assert len(part_of(tmp_path / "t", 1).chunks) == 5
    assert Store(tmp_path / "t").verify().ok
    assert same(holdfast.load(tmp_path / "t", "r@1"), made[1])
    assert same(holdfast.load(tmp_path / "t", "r@2"), made[2])


def test_a_bundle_has_all_that_it_needs(tmp_path: Path) -> None:
    made = states(2)
    save(tmp_path / "s", made)
    Store(tmp_path / "s").copy("r@1", tmp_path / "one.holdfast")
    shutil.rmtree(tmp_path / "s")
    assert same(holdfast.load(tmp_path / "one.holdfast", "r@1"), made[1])


# --- damage ---


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


# --- encrypted stores ---


def test_in_an_encrypted_store_too(tmp_path: Path) -> None:
    made, key = states(4), holdfast.keys.passphrase("kelp")
    store = Store(tmp_path / "s", keys=key)
    save(store, made[:3])
    assert row_of(part_of(tmp_path / "s", 3, keys=key), "w").codec == DELTA
    check_all(store, made[:3])
    store.keys.rotate()
    assert store.keys.reencrypt().ok
    save(store, made[3:], first=3)
    assert store.verify().ok
    check_all(store, made)
    part = part_of(tmp_path / "s", 4, keys=key)
    flip(tmp_path / "s", part, base_of(part), 50_000)
    with pytest.raises(errors.ChunkDamaged):
        holdfast.load(store, "r@3")
    save(tmp_path / "open", made[:1], "planes")
    assert store.repair([tmp_path / "open"]).ok
    check_all(store, made)
