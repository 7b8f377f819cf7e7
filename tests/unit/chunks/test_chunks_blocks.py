"""Chunks of which little is wanted are read by their blocks, and all else is as ever."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from played_disk import PlayedDisk, damage

from holdfast.chunks.batch import ChunkRead
from holdfast.chunks.blocks import BlockHasher, by_blocks
from holdfast.chunks.check import check_chunks
from holdfast.chunks.read import read_chunks
from holdfast.chunks.targets import Target
from holdfast.errors import ChunkDamaged
from holdfast.format.blocks import Blocks
from holdfast.format.digests import check, digest
from holdfast.format.part import ChunkRow

BLOCK = 4096
LENGTH = 50 * BLOCK + 77
CHUNK = random.Random(5).randbytes(LENGTH)
BEFORE = random.Random(6).randbytes(2 * BLOCK)


def checks_of(data: bytes, nbytes: int) -> bytes:
    return b"".join(check(data[at : at + nbytes]) for at in range(0, len(data), nbytes))


BLOCKS = Blocks(BLOCK, checks_of(CHUNK, BLOCK))
ROW = ChunkRow(digest(CHUNK), check(CHUNK), LENGTH, 0, len(BEFORE), blocks=BLOCKS)


@pytest.fixture(params=[True, False], ids=["cached", "uncached"])
def store(request: pytest.FixtureRequest) -> PlayedDisk:
    made = PlayedDisk(cached=request.param)
    made.put("packs/0", BEFORE + CHUNK + bytes(-LENGTH % BLOCK))
    return made


def wanted(pieces: list[tuple[int, int]], *, in_place: bool) -> tuple[ChunkRead, list[bytearray]]:
    targets = [bytearray(b"\xaa" * n) for _, n in pieces]
    into = [Target(b, memoryview(t)) for (b, _), t in zip(pieces, targets, strict=True)]
    return ChunkRead(ROW, "packs/0", into, in_place, "leaf"), targets


@given(st.lists(st.integers(1, 10_000), max_size=30), st.sampled_from([4096, 8192]))
def test_checks_do_not_depend_on_how_the_bytes_come(steps: list[int], nbytes: int) -> None:
    data = memoryview(CHUNK[: sum(steps)])
    hasher, at = BlockHasher(nbytes), 0
    for step in steps:
        hasher.update(data[at : at + step])
        at += step
    assert hasher.digest() == checks_of(bytes(data), nbytes)


PIECES = [(5000, 100), (9000, 20_000), (20 * BLOCK, BLOCK), (LENGTH - 10, 10), (5050, 10)]
# Blocks 1 to 7, 20, and the last one, which is short: packs are read in whole pages.
READ_BYTES = 7 * BLOCK + BLOCK + BLOCK


@pytest.mark.parametrize("spare", [0, 1 << 20], ids=["twice", "spare"])
@pytest.mark.parametrize("in_place", [False, True])
def test_only_the_blocks_are_read(store: PlayedDisk, in_place: bool, spare: int) -> None:
    read, targets = wanted(PIECES, in_place=in_place)
    lent = memoryview(bytearray(spare))
    nbytes = read_chunks(store, [read], ref="r@1", spare=lent)
    assert targets == [CHUNK[b : b + n] for b, n in PIECES]
    assert nbytes.wanted == sum(n for _, n in PIECES)
    assert nbytes.read in (READ_BYTES, READ_BYTES - BLOCK + 77)
    if not store.cached:
        is_twice = in_place and not spare
        assert store.uncached_bytes == READ_BYTES * (2 if is_twice else 1)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_flipped_bit_is_found_where_it_is_read_and_only_there(
    store: PlayedDisk, in_place: bool
) -> None:
    # In a block that is read, but not in the bytes that are wanted.
    for at in (4096 + 3, 20 * BLOCK, 50 * BLOCK + 1):
        damaged = PlayedDisk(cached=store.cached)
        damaged.put("packs/0", store.get("packs/0"))
        damage(damaged, "packs/0", len(BEFORE) + at)
        read, targets = wanted(PIECES, in_place=in_place)
        with pytest.raises(ChunkDamaged) as caught:
            read_chunks(damaged, [read], ref="r@1")
        assert f"block at byte {len(BEFORE) + at // BLOCK * BLOCK} " in str(caught.value)
        assert caught.value.facts["chunk"] == ROW.digest.hex()
        if in_place:
            assert all(set(target) == {0xAA} for target in targets)
    for at in (0, 8 * BLOCK, 49 * BLOCK + 4095):
        damage(store, "packs/0", len(BEFORE) + at)
    read, targets = wanted(PIECES, in_place=in_place)
    read_chunks(store, [read], ref="r@1")
    assert targets == [CHUNK[b : b + n] for b, n in PIECES]


def test_who_compares_digests_reads_all_of_a_chunk(store: PlayedDisk) -> None:
    damage(store, "packs/0", len(BEFORE))
    read, _ = wanted(PIECES, in_place=False)
    with pytest.raises(ChunkDamaged):
        read_chunks(store, [read], ref="r@1", full=True)


def test_a_chunk_that_is_wanted_whole_is_read_whole(store: PlayedDisk) -> None:
    for pieces in ([(0, LENGTH)], [(0, 100_000), (100_000, LENGTH - 100_000)], [(9, LENGTH - 9)]):
        read, _ = wanted(pieces, in_place=False)
        assert by_blocks(store, [read]) == [read]


def test_runs_stay_as_they_are(store: PlayedDisk) -> None:
    read, _ = wanted(PIECES, in_place=False)
    runs = by_blocks(store, [read])
    assert len(runs) == 3 and by_blocks(store, runs) == runs
    assert sum(len(run.targets) for run in runs) == len(PIECES)


def test_a_pack_that_is_cut_short_is_damage(store: PlayedDisk) -> None:
    store.put("packs/0", store.get("packs/0")[: len(BEFORE) + 10 * BLOCK])
    read, _ = wanted([(9 * BLOCK, 10)], in_place=False)
    read_chunks(store, [read], ref="r@1")
    read, _ = wanted([(10 * BLOCK, 10)], in_place=False)
    with pytest.raises(ChunkDamaged):
        read_chunks(store, [read], ref="r@1")


def test_verification_finds_checks_of_blocks_that_are_wrong(store: PlayedDisk) -> None:
    told: dict[str, Any] = {}
    wrong = bytearray(BLOCKS.checks)
    wrong[100] ^= 1
    for name, row in (("good", ROW), ("bad", replace(ROW, blocks=Blocks(BLOCK, bytes(wrong))))):
        read = ChunkRead(row, "packs/0", (), False, name)
        check_chunks(store, [read], lambda r, problem: told.update({r.leaf: problem}))
    assert told["good"] is None and "blocks" in told["bad"]
