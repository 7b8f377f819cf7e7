"""What a restore reads of a store: told, hardly more than is wanted, and every bit checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer
from holdfast.chunks import write
from holdfast.errors import ChunkDamaged, NoGoodCheckpoint
from holdfast.format.part import Part
from holdfast.records import commits, journal
from holdfast.records.opening import open_store

# Of 100 kB each: they lie together, in chunks of about a megabyte.
N_LEAVES, LEAF_BYTES = 20, 100_000


def state(seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    leaves = {f"w{i:02}": rng.integers(0, 256, LEAF_BYTES, np.uint8) for i in range(N_LEAVES)}
    return {"model": leaves, "big": rng.standard_normal((1000, 1000))}


def part_of(path: Path, seq: int = 1) -> Part:
    store = open_store(path, create=False)
    record = commits.read_commit(store, "r", seq)
    return commits.read_part(store, record, record.parts[0])


def damage(path: Path, leaf: int) -> None:
    """Flip a bit in the midst of a small leaf, where it lies."""
    part = part_of(path)
    row = next(row for row in part.arrays if row.nbytes == LEAF_BYTES)
    first = part.arrays.index(row)
    array = part.arrays[first + leaf]
    chunk = part.chunks[array.chunk]
    pack = path / part.packs[chunk.pack].key
    data = bytearray(pack.read_bytes())
    data[chunk.offset + array.offset + LEAF_BYTES // 2] ^= 16
    pack.write_bytes(data)


def loaded(path: Path, only: str, **options: Any) -> tuple[holdfast.Restored, dict[str, Any]]:
    into = state(seed=2)
    found = holdfast.load(path, "r@1", into=into, only=only, strict=False, **options)
    return found, into


def test_some_leaves_are_read_without_those_beside_them(store_path: Path) -> None:
    holdfast.save(store_path, state(), run="r", step=1, rng=False)
    found, into = loaded(store_path, "model/w03")
    assert found.wanted_bytes == LEAF_BYTES
    # Rounded out to pages at both ends.
    assert LEAF_BYTES <= found.read_bytes <= LEAF_BYTES + 2 * 4096
    assert (into["model"]["w03"] == state()["model"]["w03"]).all()
    assert (into["model"]["w04"] == state(seed=2)["model"]["w04"]).all()
    everything, _ = loaded(store_path, "**")
    assert everything.wanted_bytes == N_LEAVES * LEAF_BYTES + 8_000_000
    assert everything.read_bytes <= 1.01 * everything.wanted_bytes
    whole, _ = loaded(store_path, "model/w03", verify="full")
    assert whole.read_bytes > 900_000


def test_damage_counts_where_it_is_read(store_path: Path) -> None:
    holdfast.save(store_path, state(), run="r", step=1, rng=False)
    damage(store_path, leaf=3)
    for leaf in ("model/w01", "model/w05", "big"):
        loaded(store_path, leaf)
    into = state(seed=2)
    with pytest.raises(ChunkDamaged, match="w03"):
        holdfast.load(store_path, "r@1", into=into, only=["model/w03", "model/w04"], strict=False)
    assert all((into["model"][name] == old).all() for name, old in state(2)["model"].items())
    with pytest.raises(NoGoodCheckpoint):
        holdfast.load(store_path, "r@latest", only="model/w03")
    assert not holdfast.Store(store_path).verify().ok


def test_what_was_read_is_recorded(store_path: Path) -> None:
    with Checkpointer(store_path, state(), run="r", rng=False) as ckpt:
        ckpt.save(1).wait()
    with Checkpointer(store_path, state(seed=2), run="r", rng=False) as ckpt:
        restored = ckpt.restore(only="model/w07", strict=False)
    assert restored is not None
    assert restored.wanted_bytes == LEAF_BYTES <= restored.read_bytes < 1.1 * LEAF_BYTES
    events = journal.events(open_store(store_path, create=False), "r")
    [event] = [event for event in events if event["event"] == "restored"]
    assert event["read_bytes"] == restored.read_bytes
    assert event["wanted_bytes"] == LEAF_BYTES
    report = holdfast.Store(store_path).report("r")
    assert report.restore_read_bytes == restored.read_bytes
    assert report.restore_wanted_bytes == LEAF_BYTES


def test_chunks_that_stay_keep_the_checks_of_their_blocks(store_path: Path) -> None:
    value = state()
    holdfast.save(store_path, value, run="r", step=1, rng=False)
    value["model"]["w19"][0] ^= 1
    holdfast.save(store_path, value, run="r", step=2, rng=False)
    before, after = ({c.digest: c for c in part_of(store_path, n).chunks} for n in (1, 2))
    shared = before.keys() & after.keys()
    assert len(before) - 1 == len(shared) > 0
    assert all(chunk.blocks is not None for chunk in (before | after).values())
    assert all(before[digest].blocks == after[digest].blocks for digest in shared)


def test_what_an_older_version_stored_gets_them_when_it_is_digested_anyway(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(write, "block_bytes", lambda length, total_bytes: 0)
        holdfast.save(store_path, state(), run="r", step=1, rng=False)
    assert not any(chunk.blocks for chunk in part_of(store_path).chunks)
    found, _ = loaded(store_path, "model/w03")
    assert found.read_bytes > 900_000
    again = holdfast.save(store_path, state(), run="r", step=2, rng=False)
    assert again.stored_bytes < 100_000
    assert all(chunk.blocks for chunk in part_of(store_path, 2).chunks)
    into = state(seed=2)
    found = holdfast.load(store_path, "r@2", into=into, only="model/w03", strict=False)
    assert found.read_bytes < 1.1 * LEAF_BYTES
    assert (into["model"]["w03"] == state()["model"]["w03"]).all()


def test_what_is_sealed_or_in_a_codec_has_none(store_path: Path, tmp_path: Path) -> None:
    value = {"zeros": np.zeros(500_000), "noise": state()["model"]["w00"]}
    holdfast.save(store_path, value, run="r", step=1, rng=False, compress="planes")
    chunks = part_of(store_path).chunks
    assert [bool(c.codec) for c in chunks].count(True) == 1
    assert all((c.blocks is None) == bool(c.codec) for c in chunks)
    sealed = holdfast.Store(tmp_path / "sealed", keys=holdfast.keys.passphrase("kelp and rock"))
    holdfast.save(sealed, state(), run="r", step=1, rng=False)
    store = sealed.place.open()
    record = commits.read_commit(store, "r", 1)
    assert not any(c.blocks for c in commits.read_part(store, record, record.parts[0]).chunks)
    assert len(holdfast.load(sealed, "r@1", only="model/w03")["model"]) == 1
