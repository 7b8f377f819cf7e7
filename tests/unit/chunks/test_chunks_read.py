"""Chunks out of a store: all checked before they count, and memory that stands all or nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from played_disk import PlayedDisk as Store
from played_disk import damage

from holdfast.chunks.batch import ChunkRead, batches
from holdfast.chunks.check import check_chunks
from holdfast.chunks.read import read_chunks
from holdfast.chunks.targets import Target
from holdfast.errors import ChunkDamaged, ChunkMissing, HoldfastError, RestoreIncomplete
from holdfast.format.digests import check, digest
from holdfast.format.part import ChunkRow
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.testing.memory import BytesReader


def content(n: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(n)


CHUNKS = [content(n, n) for n in (5, 5000, 4096, 3 << 20, 100_000, 1)]
ALIGNED_BYTES = sum(align(len(c), CHUNK_ALIGNMENT) for c in CHUNKS)


@pytest.fixture(params=[True, False], ids=["cached", "uncached"])
def store(request: pytest.FixtureRequest) -> Store:
    return Store(cached=request.param)


def rows_in(store: Store, chunks: Sequence[bytes] = CHUNKS, per_pack: int = 4) -> list[Any]:
    """Put chunks into packs; return (row, key of the pack) of each."""
    out = []
    for n in range(0, len(chunks), per_pack):
        data = b""
        for chunk in chunks[n : n + per_pack]:
            row = ChunkRow(digest(chunk), check(chunk), len(chunk), n // per_pack, len(data))
            out.append((row, f"packs/{n // per_pack}"))
            data += chunk + bytes(align(len(chunk), CHUNK_ALIGNMENT) - len(chunk))
        store.put(f"packs/{n // per_pack}", data)
    return out


def whole(places: list[Any], targets: list[bytearray], *, in_place: bool) -> list[ChunkRead]:
    return [
        ChunkRead(row, key, [Target(0, memoryview(target))], in_place, f"leaf {i}")
        for i, ((row, key), target) in enumerate(zip(places, targets, strict=True))
    ]


def standing(chunks: Sequence[bytes] = CHUNKS) -> list[bytearray]:
    return [bytearray(b"\xaa" * len(chunk)) for chunk in chunks]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_chunks_arrive_where_they_go(store: Store, in_place: bool, full: bool) -> None:
    targets, done = standing(), []
    reads = whole(rows_in(store), targets, in_place=in_place)
    read_chunks(store, reads, ref="r@1", full=full, progress=done.append)
    assert targets == CHUNKS
    assert sum(done) == sum(map(len, CHUNKS))
    assert store.opened == store.closed == 2


@pytest.mark.parametrize("in_place", [False, True])
def test_parts_of_a_chunk_go_to_several_places(store: Store, in_place: bool) -> None:
    row, key = rows_in(store)[4]
    pieces = [(0, 10), (99_990, 10), (5000, 60_000), (5, 10)]
    targets = [bytearray(n) for _, n in pieces]
    wanted = [Target(b, memoryview(t)) for (b, _), t in zip(pieces, targets, strict=True)]
    read_chunks(store, [ChunkRead(row, key, wanted, in_place, "x")], ref="r@1")
    assert targets == [CHUNKS[4][b : b + n] for b, n in pieces]


def test_some_stand_and_some_are_new(store: Store) -> None:
    places, targets = rows_in(store), standing()
    reads = [
        ChunkRead(row, key, [Target(0, memoryview(target))], i % 2 == 0, "x")
        for i, ((row, key), target) in enumerate(zip(places, targets, strict=True))
    ]
    read_chunks(store, reads, ref="r@1")
    assert targets == CHUNKS


def test_nothing_to_read_is_fine(store: Store) -> None:
    read_chunks(store, [], ref="r@1")


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bad", range(len(CHUNKS)))
def test_a_damaged_chunk_changes_nothing_that_stands(store: Store, bad: int, full: bool) -> None:
    places, targets = rows_in(store), standing()
    row, key = places[bad]
    damage(store, key, row.offset + row.length // 2)
    with pytest.raises(ChunkDamaged, match="Nothing was changed") as caught:
        read_chunks(store, whole(places, targets, in_place=True), ref="r@1", full=full)
    assert targets == standing()
    assert (caught.value.leaf, caught.value.ref) == (f"leaf {bad}", "r@1")
    assert caught.value.chunk == row.digest.hex()
    assert store.opened == store.closed


@pytest.mark.parametrize("bad", range(len(CHUNKS)))
def test_a_damaged_new_chunk_is_told_and_what_stands_is_as_it_was(store: Store, bad: int) -> None:
    places, targets = rows_in(store), standing()
    row, key = places[bad]
    damage(store, key, row.offset)
    reads = [
        ChunkRead(row, key, [Target(0, memoryview(target))], i != bad, f"leaf {i}")
        for i, ((row, key), target) in enumerate(zip(places, targets, strict=True))
    ]
    with pytest.raises(ChunkDamaged):
        read_chunks(store, reads, ref="r@1")
    assert [t for i, t in enumerate(targets) if i != bad] == [
        t for i, t in enumerate(standing()) if i != bad
    ]


def test_what_lies_between_chunks_does_not_matter(store: Store) -> None:
    places, targets = rows_in(store), standing()
    damage(store, "packs/0", 4000)
    read_chunks(store, whole(places, targets, in_place=True), ref="r@1")
    assert targets == CHUNKS


@pytest.mark.parametrize("in_place", [False, True])
def test_a_pack_that_is_cut_short(store: Store, in_place: bool) -> None:
    places, targets = rows_in(store), standing()
    store.put("packs/0", store.get("packs/0")[:10_000])
    with pytest.raises(ChunkDamaged, match="cut short"):
        read_chunks(store, whole(places, targets, in_place=in_place), ref="r@1")
    if in_place:
        assert targets == standing()


@pytest.mark.parametrize("in_place", [False, True])
def test_a_pack_that_is_missing(store: Store, in_place: bool) -> None:
    places, targets = rows_in(store), standing()
    store.delete(["packs/1"])
    with pytest.raises(ChunkMissing):
        read_chunks(store, whole(places, targets, in_place=in_place), ref="r@1")
    if in_place:
        assert targets == standing()


def test_a_pack_without_its_padding_at_the_end_is_good(store: Store) -> None:
    places, targets = rows_in(store), standing()
    last = places[-1][0]
    store.put("packs/1", store.get("packs/1")[: last.offset + last.length])
    read_chunks(store, whole(places, targets, in_place=True), ref="r@1")
    assert targets == CHUNKS


# --- with memory to keep old content in, and without ---


def in_place_with(spare: memoryview | None, *, bad: bool) -> Store:
    store = Store(cached=False)
    places, targets = rows_in(store), standing()
    reads = whole(places, targets, in_place=True)
    if bad:
        damage(store, "packs/1", 0)
        with pytest.raises(ChunkDamaged):
            read_chunks(store, reads, ref="r@1", spare=spare)
        assert targets == standing()
    else:
        read_chunks(store, reads, ref="r@1", spare=spare)
        assert targets == CHUNKS
    return store


@pytest.mark.parametrize("bad", [False, True])
def test_with_spare_memory_chunks_are_read_once(bad: bool) -> None:
    spare = memoryview(bytearray(ALIGNED_BYTES))
    assert in_place_with(spare, bad=bad).uncached_bytes == ALIGNED_BYTES


@pytest.mark.parametrize("nbytes", [0, 1000])
@pytest.mark.parametrize("bad", [False, True])
def test_with_too_little_of_it_they_are_read_twice(nbytes: int, bad: bool) -> None:
    store = in_place_with(memoryview(bytearray(nbytes)), bad=bad)
    assert store.uncached_bytes == (1 if bad else 2) * ALIGNED_BYTES


@pytest.mark.parametrize("bad", [False, True])
def test_without_it_they_are_read_twice(bad: bool) -> None:
    store = in_place_with(None, bad=bad)
    assert store.uncached_bytes == (1 if bad else 2) * ALIGNED_BYTES


def test_what_leaves_the_cache_in_between_is_checked_again() -> None:
    store = Store(cached=True)
    places, targets = rows_in(store), standing()
    store.evict_after = 12
    read_chunks(store, whole(places, targets, in_place=True), ref="r@1")
    assert targets == CHUNKS
    assert store.uncached_bytes > 0


def test_damage_in_between_is_told_as_a_half_done_restore() -> None:
    class Decaying(Store):
        def open(self, key: str) -> Any:
            reader = super().open(key)
            real = reader.read_cached
            seen: set[int] = set()

            def read_cached(into: memoryview, offset: int) -> bool:
                # Good at the first look; gone from the cache and damaged at the second.
                if offset in seen:
                    self.cached = False
                    damage(self, key, offset)
                    reader._inner = BytesReader(key, self.get(key))
                    return False
                seen.add(offset)
                return bool(real(into, offset))

            reader.read_cached = read_cached
            return reader

    store = Decaying(cached=True)
    chunk = content(5000, 0)
    places, targets = rows_in(store, [chunk]), standing([chunk])
    with pytest.raises(RestoreIncomplete, match="do not go on with this model"):
        read_chunks(store, whole(places, targets, in_place=True), ref="r@1")


# --- batches ---


def test_chunks_that_lie_side_by_side_are_read_together() -> None:
    store = Store(cached=False)
    chunks = [content(6000, i) for i in range(40)]
    places, targets = rows_in(store, chunks, per_pack=40), standing(chunks)
    read_chunks(store, whole(places, targets, in_place=False), ref="r@1")
    assert targets == chunks
    assert store.uncached_reads == 1


def test_batches_hold_every_read_once_and_stay_within_a_pack() -> None:
    rng = random.Random(0)
    store = Store(cached=False)
    chunks = [content(rng.randrange(1, 20_000), i) for i in range(60)]
    reads = whole(rows_in(store, chunks, per_pack=7), standing(chunks), in_place=False)
    some = [r for r in reads if rng.random() < 0.7]
    rng.shuffle(some)
    found = batches(some, 0)
    assert sorted(r.leaf for b in found for r in b) == sorted(r.leaf for r in some)
    for batch in found:
        assert len({r.pack_key for r in batch}) == 1
        for a, b in pairwise(batch):
            assert b.row.offset == align(a.row.offset + a.row.length, CHUNK_ALIGNMENT)


def test_many_small_chunks_in_one_batch_are_looked_at_a_few_times_each() -> None:
    class Counted:
        pack_key, looks = "packs/0", 0

        def __init__(self, number: int) -> None:
            self._row = ChunkRow(b"", b"", 1, 0, number * CHUNK_ALIGNMENT)

        @property
        def row(self) -> ChunkRow:
            Counted.looks += 1
            return self._row

    reads: list[Any] = [Counted(number) for number in range(2000)]
    assert [len(batch) for batch in batches(reads, 0)] == [2000]
    assert Counted.looks < 20 * len(reads)


# --- checking where they lie ---


def checked(store: Store, places: list[Any]) -> dict[str, str | None]:
    told: dict[str, str | None] = {}
    reads = [ChunkRead(row, key, (), False, f"{i}") for i, (row, key) in enumerate(places)]
    check_chunks(store, reads, lambda read, problem: told.update({read.leaf: problem}))
    return told


def test_good_chunks_are_said_to_be_good(store: Store) -> None:
    assert checked(store, rows_in(store)) == {str(i): None for i in range(len(CHUNKS))}


def test_each_bad_chunk_is_told_and_no_other(store: Store) -> None:
    places = rows_in(store)
    damage(store, "packs/0", places[1][0].offset)
    told = checked(store, places)
    assert {i for i, problem in told.items() if problem is not None} == {"1"}
    assert "is damaged" in str(told["1"])
    store.put("packs/0", store.get("packs/0")[: places[3][0].offset + 10])
    store.delete(["packs/1"])
    told = checked(store, places)
    assert {i for i, problem in told.items() if problem is not None} == {"1", "3", "4", "5"}


def test_a_wrong_checksum_in_the_manifest_is_told_from_damage(store: Store) -> None:
    row, key = rows_in(store)[1]
    wrong = ChunkRow(row.digest, bytes(16), row.length, row.pack, row.offset)
    assert "checksum" in str(checked(store, [(wrong, key)])["0"])


class BadSector(Store):
    """A store that cannot read one byte of its first pack."""

    def __init__(self, at: int) -> None:
        super().__init__(cached=False)
        self._at = at

    def open(self, key: str) -> Any:
        reader = super().open(key)
        real = reader.read_uncached

        def read_uncached(into: memoryview, offset: int) -> None:
            if key == "packs/0" and offset <= self._at < offset + into.nbytes:
                raise HoldfastError("bad sector")
            real(into, offset)

        reader.read_uncached = read_uncached
        return reader


def test_a_bad_sector_condemns_nobody_else() -> None:
    store = BadSector(4096)
    places = rows_in(store)
    told = checked(store, places)
    assert {i for i, problem in told.items() if problem is not None} == {"1"}
    assert store.opened == store.closed


def test_each_chunk_is_told_once_wherever_a_sector_is_bad() -> None:
    store = BadSector(5 << 19)
    reads = whole(rows_in(store), standing(), in_place=False)
    told: list[tuple[str, bool]] = []
    check_chunks(store, reads, lambda read, problem: told.append((read.leaf, problem is None)))
    assert sorted(told) == [(f"leaf {i}", i != 3) for i in range(len(CHUNKS))]
