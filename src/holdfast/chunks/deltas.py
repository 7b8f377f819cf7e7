"""Which chunks a save stores as differences from what they were, and where that pays.

A delta is a difference from a chunk that is stored whole, never from another delta, so that a chunk
needs two reads at most. After some saves, or once the difference has grown so much that it hardly
gains, the chunk is stored whole again, and is what later ones differ from.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from holdfast.chunks.bases import Bases
from holdfast.chunks.codecs import choice
from holdfast.chunks.codecs.delta import flip
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.chunks.stored import Stored
from holdfast.errors import HoldfastError
from holdfast.format.names import checkpoint_of
from holdfast.plan.elements import Elements
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.store.contract import ObjectStore

# Saves after which a chunk is stored whole again.
MAX_AGE: Final = 8
# Of what the whole chunk took, this much may be taken at most: another read must be worth it.
MAX_SHARE: Final = 0.9
# A chunk that differs all over from one save to the next is left alone for so many.
_REST: Final = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """What a chunk may be stored as a difference from, and how many saves ago it was stored."""

    place: Stored
    age: int


@final
class Ages:
    """How many saves ago the packs of a run were written."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._newest = 0

    def note(self, checkpoint_id: str, seq: int) -> None:
        """Take in a checkpoint and its number; call with rising numbers."""
        self._numbers[checkpoint_id] = self._newest = seq

    def of(self, pack_key: str) -> int:
        """Return for how many saves a pack has been there when the next one is made.

        One whose checkpoint was removed before this process looked counts as old as the oldest that
        is known.
        """
        oldest = next(iter(self._numbers.values()), self._newest)
        return self._newest + 1 - self._numbers.get(checkpoint_of(pack_key), oldest)


def origins(
    places: Sequence[Stored], lengths: Sequence[int], good: Mapping[bytes, Stored], ages: Ages
) -> dict[int, Origin]:
    """Return what the chunks of a save may be stored as differences from, by index.

    Args:
        places: The parent's chunks, in order; the same leaf lies in the same one.
        lengths: The bytes of each chunk of the save.
        good: Chunks that may be referred to, by digest.
        ages: How old packs are.
    """
    found = {}
    for chunk, (place, length) in enumerate(zip(places, lengths, strict=False)):
        base = place.base or place
        age = ages.of(base.pack_key)
        if base.length == length and good.get(base.digest) == base and age <= MAX_AGE:
            found[chunk] = Origin(base, age)
    return found


@final
class Deltas:
    """Makes differences for the saves of one run; used by several threads, one save at a time.

    Args:
        store: Where earlier chunks lie.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._bases = Bases(store, full=True)
        self._origins: Mapping[int, Origin] = {}
        self._rests: dict[int, int] = {}
        self._saves = 0
        self._lock = threading.Lock()

    def begin(self, origins: Mapping[int, Origin]) -> None:
        """Make ready for a save."""
        self._saves += 1
        self._origins = origins

    def encode(
        self, chunk: int, data: memoryview, elements: Elements, room: memoryview
    ) -> tuple[int, Stored] | None:
        """Fill room with a chunk's difference; return its bytes, and from what; or None.

        Args:
            chunk: Its index.
            data: Its bytes.
            elements: What most of it consists of.
            room: Memory for it in planes.
        """
        origin = self._origins.get(chunk)
        if origin is None or self._is_resting(chunk):
            return None
        try:
            difference = self._bases(origin.place.read())
        except (Undecodable, HoldfastError):
            return None  # A damaged chunk shall not spoil those to come.
        flip(difference, data)
        plan = choice.choose(difference, elements)
        nbytes = choice.encode(difference, plan, room) if plan is not None else None
        most = MAX_SHARE * align(origin.place.stored_length, CHUNK_ALIGNMENT)
        if nbytes is not None and align(nbytes, CHUNK_ALIGNMENT) <= most:
            return nbytes, origin.place
        if origin.age == 1:
            with self._lock:
                self._rests[chunk] = self._saves + _REST
        return None

    def _is_resting(self, chunk: int) -> bool:
        with self._lock:
            return self._rests.get(chunk, 0) >= self._saves
