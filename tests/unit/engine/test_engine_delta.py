"""Checkpoints stored as differences, end to end: saved, restored, copied."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from delta_states import (
    NAMES,
    base_of,
    begun,
    check_all,
    codecs,
    flip,
    part_of,
    row_of,
    same,
    save,
    states,
    stepped,
    zeros,
)

import holdfast
from absent import required
from holdfast import Checkpointer, Store, errors, keep
from holdfast.chunks.deltas import MAX_AGE
from holdfast.convert.exporting import export
from holdfast.format.codecs import DELTA, PLANES, RAW

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
    torch = required("torch")
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


def until_tidied(path: Path) -> None:
    """Wait until retention has left the newest checkpoint alone there."""
    until_s = time.monotonic() + 60
    while len(list(path.glob("runs/r/parts/*"))) > 1:
        assert time.monotonic() < until_s
        time.sleep(0.01)


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
            # What is carried over is moved once its own checkpoint is gone, not a save later.
            until_tidied(tmp_path)
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
