"""What a save differs from, and when it is stored whole: by age, by gain, by what is whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holdfast.chunks.deltas import MAX_AGE, Ages, Deltas, Origin, origins
from holdfast.chunks.stored import Stored, tables
from holdfast.format.codecs import DELTA, PLANES
from holdfast.format.digests import check, digest
from holdfast.format.names import RunKeys
from holdfast.plan.elements import BYTES, Elements
from holdfast.store.local import LocalStore

KEYS = RunKeys("r")
IDS = [f"{n:032x}" for n in range(30)]
RNG = np.random.default_rng(0)


def whole(name: int, length: int = 9000, saved_by: int = 0) -> Stored:
    data = bytes([name]) * 9
    key = KEYS.pack(IDS[saved_by], 0)
    return Stored(digest(data), check(data), length, key, 1 << 20, 4096 * name, PLANES, 800)


def delta(name: int, base: Stored, saved_by: int) -> Stored:
    at = whole(name, base.length, saved_by)
    return Stored(
        at.digest, at.check, at.length, at.pack_key, at.pack_length, at.offset, DELTA, 300, base
    )


def aged(*seqs: int) -> Ages:
    ages = Ages()
    for number, seq in enumerate(seqs):
        ages.note(IDS[number], seq)
    return ages


def good(*places: Stored) -> dict[bytes, Stored]:
    return {place.digest: place for place in places}


def test_a_chunk_differs_from_one_that_is_whole() -> None:
    first = whole(1)
    found = origins([first, delta(2, first, 1)], [9000, 9000], good(first), aged(1, 2))
    assert found == {0: Origin(first, 2), 1: Origin(first, 2)}


def test_not_from_one_of_another_length_or_that_may_not_be_referred_to() -> None:
    first, moved = whole(1), whole(1, saved_by=1)
    assert origins([first], [9001], good(first), aged(1)) == {}
    assert origins([first], [9000], {}, aged(1)) == {}
    # The same bytes elsewhere: what is there may be gone tomorrow.
    assert origins([first], [9000], good(moved), aged(1)) == {}
    assert origins([first, first], [9000], good(first), aged(1)) == {0: Origin(first, 1)}


def test_nor_from_one_that_is_old() -> None:
    first = whole(1)
    for seq, is_young in ((MAX_AGE, True), (MAX_AGE + 1, False)):
        found = origins([first], [9000], good(first), aged(1, seq))
        assert bool(found) == is_young


def test_what_was_removed_is_as_old_as_what_is_known() -> None:
    ages = aged(5, 6, 9)
    assert [ages.of(KEYS.pack(IDS[n], 3)) for n in (0, 1, 2)] == [5, 4, 1]
    assert ages.of(KEYS.pack("f" * 32, 0)) == 5
    assert Ages().of(KEYS.pack("f" * 32, 0)) == 1


def test_bases_have_rows_behind_the_others_once() -> None:
    one, two = whole(1), whole(2)
    places = [two, delta(3, one, 1), delta(4, one, 1), delta(5, two, 1)]
    rows, packs = tables(places)
    assert [row.base for row in rows] == [None, 4, 4, 0, None]
    assert [pack.key for pack in packs] == [KEYS.pack(IDS[0], 0), KEYS.pack(IDS[1], 0)]
    assert rows[4] == one.row(0) and [packs[row.pack].key for row in rows] == [
        place.pack_key for place in (*places, one)
    ]


class Held:
    """A store with one raw chunk, and differences from it."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder)
        self.data = RNG.bytes(100_000)
        self.key = KEYS.pack(IDS[0], 0)
        self.put(self.data)
        self.place = Stored(digest(self.data), check(self.data), 100_000, self.key, 102_400, 0)
        self.deltas = Deltas(self.store)
        self.room = memoryview(bytearray(200_000))

    def put(self, data: bytes) -> None:
        self.store.put(self.key, data + bytes(2400))

    def encode(self, data: bytes, age: int = 1, elements: Elements = BYTES) -> Stored | None:
        self.deltas.begin({0: Origin(self.place, age)})
        found = self.deltas.encode(0, memoryview(data), elements, self.room)
        return found[1] if found is not None else None


def nearly(data: bytes) -> bytes:
    return data[:-7] + b"another"


def test_what_gains_is_a_difference(tmp_path: Path) -> None:
    held = Held(tmp_path)
    assert held.encode(nearly(held.data)) == held.place
    assert held.encode(RNG.bytes(100_000), age=2) is None
    assert held.encode(nearly(held.data)) == held.place


def test_what_differs_all_over_at_once_is_left_alone_for_some_saves(tmp_path: Path) -> None:
    held = Held(tmp_path)
    assert held.encode(RNG.bytes(100_000)) is None
    found = [held.encode(nearly(held.data)) is not None for _ in range(10)]
    assert found == [False] * 8 + [True] * 2


def test_nothing_differs_from_what_is_damaged(tmp_path: Path) -> None:
    held = Held(tmp_path)
    held.put(held.data[:50_000] + b"!" + held.data[50_001:])
    assert held.encode(nearly(held.data)) is None
    held.put(held.data)
    assert held.encode(nearly(held.data)) == held.place
    held.store.delete([held.key])
    assert held.encode(nearly(held.data)) is None
