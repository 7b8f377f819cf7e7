"""Rows of the catalog: what is kept of a commit, sealed so that a wrong byte is never believed.

A row stands for one commit object as a listing showed it: by size and time of change. What many
commits share - environment, configuration - is kept once, under its own digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import xxhash

from holdfast.format import lineage as lineage_format
from holdfast.format.commit import CommitRecord
from holdfast.history.info import CheckpointInfo
from holdfast.store.contract import ObjectInfo

Shared = Callable[[str], Mapping[str, object]]


class Row(NamedTuple):
    """One commit: its place, what the listing showed of it, what it says, and the seal."""

    # A named tuple, which is made in a third of the time that a dataclass takes: there are many.
    run: str
    seq: int
    size: int
    modified_s: float
    body: bytes
    seal: bytes

    def stands_for(self, listed: ObjectInfo) -> bool:
        """Say whether the object is still the one that the row was made of."""
        return self.size == listed.size and self.modified_s == listed.modified_s

    @property
    def is_whole(self) -> bool:
        """Whether the seal is that of the rest."""
        return self.seal == _seal(self.run, self.seq, self.size, self.modified_s, self.body)


def row_of(record: CommitRecord, listed: ObjectInfo) -> tuple[Row, dict[str, bytes]]:
    """Return the row of a commit, and what it shares with others, by digest."""
    shared = [packed(record.environment), packed(lineage_format.encode(record.lineage))]
    digests = [digest_of(data) for data in shared]
    body = packed(
        [
            record.step,
            record.id,
            record.created_ns,
            dict(record.metrics),
            record.state_bytes,
            record.stored_bytes,
            record.n_leaves,
            record.parent,
            record.reason,
            record.incarnation,
            [signature.key_id for signature in record.signatures],
            record.epoch,
            record.not_finite,
            *digests,
        ]
    )
    seal = _seal(record.run, record.seq, listed.size, listed.modified_s, body)
    row = Row(record.run, record.seq, listed.size, listed.modified_s, body, seal)
    return row, dict(zip(digests, shared, strict=True))


def infos_of_rows(rows: Sequence[Row], shared: Shared) -> list[CheckpointInfo]:
    """Return what users are told of the commits of rows, without tags and notes.

    Args:
        rows: The rows, found whole.
        shared: Gives what is kept under a digest.
    """
    lineage_of = cache(lambda digest: lineage_format.decode(shared(digest)))
    # All at once, which is several times as quick as one by one.
    facts_of_rows = json.loads(b"[" + b",".join(row.body for row in rows) + b"]")
    infos = []
    for row, facts in zip(rows, facts_of_rows, strict=True):
        step, name, created_ns, metrics, state_bytes, stored_bytes, n_leaves, *texts = facts
        parent, reason, incarnation, signed_by, epoch, not_finite, environment, past = texts
        lineage = lineage_of(past)
        infos.append(
            CheckpointInfo(
                row.run,
                step,
                name,
                row.seq,
                datetime.fromtimestamp(created_ns / 1e9, UTC),
                metrics,
                (),
                state_bytes,
                stored_bytes,
                n_leaves,
                parent,
                reason,
                shared(environment),
                incarnation,
                tuple(signed_by),
                None,
                lineage.resumed_from,
                lineage.forked_from,
                lineage.config,
                lineage.dataset,
                epoch=epoch,
                not_finite=not_finite,
                base=lineage.base,
            )
        )
    return infos


def packed(value: object) -> bytes:
    """Return a value as JSON, NaN and the infinities as Python spells them."""
    return json.dumps(value, separators=(",", ":")).encode()


def digest_of(data: bytes) -> str:
    """Return the digest, in hex, that something shared is kept under."""
    return xxhash.xxh3_128_hexdigest(data)


def _seal(run: str, seq: int, size: int, modified_s: float, body: bytes) -> bytes:
    place = f"{run}\0{seq}\0{size}\0{modified_s!r}\0".encode()
    return xxhash.xxh3_128_digest(place + body)
