"""What the checkpoints that are kept take in the store: each, and all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.format.commit import CommitRecord
from holdfast.history.stock import Stock
from holdfast.store.contract import ObjectStore

# Each takes a look into its manifest; of a run that keeps thousands the newest tell enough.
MOST = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """One checkpoint that is there; sizes in bytes.

    Attributes:
        step: The step that it was saved after.
        needed_bytes: What a restore of it needs.
        alone_bytes: What of that no other needs of those that were looked into: removing it gives
            that back.
    """

    step: int
    needed_bytes: int
    alone_bytes: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a run takes in the store.

    Attributes:
        n_kept: How many checkpoints are there.
        kept: The newest of them, at most ``MOST``, oldest first.
        used_bytes: What all take together, shared objects counted once.
    """

    n_kept: int = 0
    kept: tuple[Kept, ...] = ()
    used_bytes: int = 0


def read_holdings(store: ObjectStore, run: str, records: Sequence[CommitRecord]) -> Holdings:
    """Return what the checkpoints of a run take. One whose manifest is damaged takes 0 bytes."""
    stock = Stock(store, run)
    newest = records[-MOST:]
    needed = [stock.needs(record) or {} for record in newest]
    shared = Counter(key for objects in needed for key in objects)
    return Holdings(
        n_kept=len(records),
        kept=tuple(
            Kept(
                record.step,
                sum(objects.values()),
                sum(nbytes for key, nbytes in objects.items() if shared[key] == 1),
            )
            for record, objects in zip(newest, needed, strict=True)
        ),
        used_bytes=stock.nbytes,
    )
