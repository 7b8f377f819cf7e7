"""Objects sealed, opened, and sealed again with newer keys: what they say stays what it was."""

from __future__ import annotations

import pytest

from holdfast.errors import SealBroken
from holdfast.sealed.objects import open_object, resealed, seal_line, seal_object
from holdfast.security.keyring import Keyring
from holdfast.security.seal import Seals

JOURNAL, OTHER = "runs/r/events.jsonl", "runs/r/commits/c"
LINES = b'{"event": "saved"}\n' * 50


@pytest.fixture
def old() -> Seals:
    return Seals(Keyring.new())


@pytest.fixture
def newer(old: Seals) -> Seals:
    return Seals(old.keyring.rotated())


def put_whole(seals: Seals, key: str, data: bytes) -> bytes:
    """Return a journal that was put as one object, not as lines."""
    name = key.encode()
    joined = len(name).to_bytes(2, "little") + name + data
    return seals.seal(joined, bound_to=b"object\0" + name)


@pytest.mark.parametrize("key", [JOURNAL, OTHER])
def test_objects_say_the_same_under_newer_keys_alone(old: Seals, newer: Seals, key: str) -> None:
    again = resealed(newer, key, seal_object(old, key, key, LINES))
    assert again is not None
    assert open_object(Seals(newer.keyring.without_old()), key, again) == (key, LINES)
    assert resealed(newer, key, again) is None


def test_lines_that_were_added_are_kept(old: Seals, newer: Seals) -> None:
    stored = seal_object(old, JOURNAL, JOURNAL, b"a\n") + seal_line(newer, JOURNAL, JOURNAL, b"b\n")
    again = resealed(newer, JOURNAL, stored)
    assert again is not None
    assert open_object(Seals(newer.keyring.without_old()), JOURNAL, again)[1] == b"a\nb\n"


@pytest.mark.parametrize("attempt", range(8))
def test_a_journal_that_was_put_as_one_object_is_kept(
    old: Seals, newer: Seals, attempt: int
) -> None:
    again = resealed(newer, JOURNAL, put_whole(old, JOURNAL, LINES))
    assert again is not None
    again += seal_line(newer, JOURNAL, JOURNAL, b"more\n")
    opened = open_object(Seals(newer.keyring.without_old()), JOURNAL, again)
    assert opened == (JOURNAL, LINES + b"more\n")


def test_a_journal_of_one_torn_line_is_no_trouble(old: Seals, newer: Seals) -> None:
    torn = seal_line(old, JOURNAL, JOURNAL, LINES)[:-9]
    assert resealed(newer, JOURNAL, torn) in (None, b"")


def test_what_does_not_open_is_told(old: Seals, newer: Seals) -> None:
    stored = bytearray(seal_object(old, OTHER, OTHER, LINES))
    stored[-1] ^= 1
    with pytest.raises(SealBroken):
        resealed(newer, OTHER, bytes(stored))
