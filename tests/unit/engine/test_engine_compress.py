"""Checkpoints stored small, end to end: saved, restored, damaged, repaired, sealed, copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, Store, errors, keep
from holdfast.chunks.encoder import Compress
from holdfast.format.part import Part
from holdfast.records import commits
from holdfast.records.opening import open_store

RNG = np.random.default_rng(0)


def state(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "w": (rng.standard_normal((1500, 700)) * 0.02).astype(np.float32),
        "noise": rng.integers(0, 256, 200_000, dtype=np.uint8),
        "small": [np.full(7, seed, np.int16), np.arange(5.0)],
        "ids": np.arange(100_000) + seed,
    }


def zeros() -> dict[str, Any]:
    made = state()
    return {k: v if isinstance(v, list) else np.zeros_like(v) for k, v in made.items()}


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    names = ("w", "noise", "ids")
    small = zip(found["small"], expected["small"], strict=True)
    return all(found[n].tobytes() == expected[n].tobytes() for n in names) and all(
        a.tobytes() == b.tobytes() for a, b in small
    )


def part_of(location: Path, seq: int = 1, *, keys: Any = None) -> Part:
    store = open_store(location, create=False, keys=keys)
    record = commits.read_commit(store, "r", seq)
    return commits.read_part(store, record, record.parts[0])


def test_a_one_shot_save_takes_less_and_comes_back(tmp_path: Path) -> None:
    plain = holdfast.save(tmp_path / "p", state(), run="r", step=1, rng=False)
    info = holdfast.save(tmp_path / "s", state(), run="r", step=1, rng=False, compress="planes")
    assert info.stored_bytes < 0.8 * plain.stored_bytes
    assert info.state_bytes == plain.state_bytes
    for verify in ("fast", "full"):
        assert same(holdfast.load(tmp_path / "s", "r@1", verify=verify), state())
        into = zeros()
        holdfast.load(tmp_path / "s", "r@1", into=into, verify=verify)
        assert same(into, state())
    assert Store(tmp_path / "s").verify().ok


@pytest.mark.parametrize("compress", ["planes", "auto"])
def test_a_run_goes_on_from_what_is_stored_small(tmp_path: Path, compress: Compress) -> None:
    held = state(1)
    with Checkpointer(tmp_path, held, run="r", keep=keep.last(2), compress=compress) as ckpt:
        for step in range(4):
            held["w"] *= 1.5
            ckpt.save(step).wait()
    assert [info.step for info in Store(tmp_path).log("r")] == [2, 3]
    again = zeros()
    with Checkpointer(tmp_path, again, run="r", compress=compress) as ckpt:
        assert ckpt.restore() is not None and ckpt.next_step == 4
        assert same(again, held)
        # In place of what stands, from memory that is lent.
        again["w"][:] = 0
        ckpt.restore("r@3")
        assert same(again, held)
    assert Store(tmp_path).verify().ok
    if compress == "planes":
        assert {row.codec for row in part_of(tmp_path, 4).chunks} == {0, 1}


def test_unchanged_chunks_stay_in_their_codec_whatever_is_asked_for_later(tmp_path: Path) -> None:
    held = state()
    holdfast.save(tmp_path, held, run="r", step=1, rng=False, compress="planes")
    held["small"][0][:] = 9
    info = holdfast.save(tmp_path, held, run="r", step=2, rng=False)
    assert info.stored_bytes < 20_000
    assert part_of(tmp_path, 2).chunks[0].codec == 1
    assert same(holdfast.load(tmp_path, "r@2"), held)


def test_formats_change_only_where_they_must(tmp_path: Path) -> None:
    noise = {"noise": RNG.integers(0, 256, 500_000, dtype=np.uint8)}
    holdfast.save(tmp_path, noise, run="r", step=1, rng=False, compress="planes")
    holdfast.save(tmp_path, state(), run="r", step=2, rng=False, compress="planes")
    store = open_store(tmp_path, create=False)
    assert [commits.read_commit(store, "r", seq).format for seq in (1, 2)] == [1, 2]


def flip(location: Path, part: Part, index: int, at: int) -> None:
    row = part.chunks[index]
    path = location / part.packs[row.pack].key
    data = bytearray(path.read_bytes())
    data[row.offset + at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("at", [0, 1, 4, 5, 100, 50_000, 1_000_000])
def test_a_flipped_bit_is_found_before_anything_changes(tmp_path: Path, at: int) -> None:
    holdfast.save(tmp_path, state(1), run="r", step=1, rng=False)
    holdfast.save(tmp_path, state(2), run="r", step=2, rng=False, compress="planes")
    flip(tmp_path, part_of(tmp_path, 2), 0, at)
    into = zeros()
    with pytest.raises(errors.ChunkDamaged, match="'w'"):
        holdfast.load(tmp_path, "r@2", into=into)
    assert same(into, zeros())
    with pytest.raises(errors.ChunkDamaged):
        holdfast.load(tmp_path, "r@2")
    assert not Store(tmp_path).verify("r@2").ok


def test_training_goes_on_from_the_newest_good_one(tmp_path: Path) -> None:
    for step in (1, 2):
        holdfast.save(tmp_path, state(step), run="r", step=step, rng=False, compress="planes")
    flip(tmp_path, part_of(tmp_path, 2), 0, 70_000)
    into = zeros()
    with Checkpointer(tmp_path, into, run="r") as ckpt:
        assert ckpt.restore() is not None and ckpt.next_step == 2
    assert same(into, state(1))


@pytest.mark.parametrize("elsewhere", ["none", "planes"])
def test_repair_puts_a_copy_back_that_is_stored_another_way(
    tmp_path: Path, elsewhere: Compress
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    holdfast.save(here, state(), run="r", step=1, rng=False, compress="planes")
    holdfast.save(there, state(), run="r", step=1, rng=False, compress=elsewhere)
    flip(here, part_of(here), 0, 70_000)
    assert not Store(here).verify().ok
    assert Store(here).repair([there]).ok
    assert Store(here).verify().ok
    assert same(holdfast.load(here, "r@1"), state())


def test_a_raw_chunk_is_repaired_from_one_in_planes(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    holdfast.save(here, state(), run="r", step=1, rng=False)
    holdfast.save(there, state(), run="r", step=1, rng=False, compress="planes")
    flip(here, part_of(here), 0, 70_000)
    assert Store(here).repair([there]).ok and same(holdfast.load(here, "r@1"), state())


def test_in_an_encrypted_store_too(tmp_path: Path) -> None:
    store = Store(tmp_path, keys=holdfast.keys.passphrase("kelp"))
    info = holdfast.save(store, state(), run="r", step=1, rng=False, compress="planes")
    assert info.stored_bytes < 0.8 * info.state_bytes
    assert same(holdfast.load(store, "r@1"), state())
    into = zeros()
    holdfast.load(store, "r@1", into=into)
    assert same(into, state())
    store.keys.rotate()
    assert store.keys.reencrypt().ok
    assert store.verify().ok and same(holdfast.load(store, "r@1", verify="full"), state())
    part = part_of(tmp_path, keys=holdfast.keys.passphrase("kelp"))
    assert part.chunks[0].codec == 1


def test_a_copy_is_as_small_as_the_original(tmp_path: Path) -> None:
    info = holdfast.save(tmp_path / "s", state(), run="r", step=1, rng=False, compress="planes")
    copied = Store(tmp_path / "s").copy("r@1", tmp_path / "t")
    assert copied.stored_bytes <= info.stored_bytes + 4096
    assert same(holdfast.load(tmp_path / "t", "r@1"), state())


def test_what_changed_is_told_from_what_was_stored_in_whatever_way(tmp_path: Path) -> None:
    held = state()
    holdfast.save(tmp_path, held, run="r", step=1, rng=False)
    held["w"][5, 5] += 1
    holdfast.save(tmp_path, held, run="r", step=2, rng=False, compress="planes")
    report = Store(tmp_path).diff("r@1", "r@2")
    changed = {tensor.path: tensor.movement for tensor in report.tensors if tensor.is_changed}
    assert list(changed) == ["w"] and changed["w"] is not None and changed["w"].n_changed == 1


def test_a_part_of_it_can_be_loaded(tmp_path: Path) -> None:
    holdfast.save(tmp_path, state(), run="r", step=1, rng=False, compress="planes")
    found = holdfast.load(tmp_path, "r@1", only="ids")
    assert list(found) == ["ids"] and found["ids"].tobytes() == state()["ids"].tobytes()


def test_what_is_no_way_to_compress_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="compress='zip'"):
        holdfast.save(tmp_path, state(), run="r", step=1, compress="zip")  # type: ignore[arg-type]
    with pytest.raises(errors.UsageError, match="compress='zip'"):
        Checkpointer(tmp_path, state(), run="r", compress="zip")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
