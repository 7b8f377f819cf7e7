"""The commit record: the small object whose presence makes a checkpoint exist.

It is an in-toto Statement v1 whose subjects are the checkpoint's parts by BLAKE3 digest, and
whose predicate tells what the checkpoint is. ``envelope`` wraps it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import envelope

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://holdfast.dev/checkpoint/v1"


@dataclass(frozen=True, slots=True)
class PartRef:
    """A part of a checkpoint: which rank wrote it, where it lies, what it must digest to."""

    rank: int
    key: str
    digest: bytes
    length: int


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What a commit says of its checkpoint.

    ``state_bytes`` are the bytes of all arrays, ``stored_bytes`` those that this save wrote
    into packs. ``created_ns`` counts nanoseconds since the epoch, UTC.
    """

    run: str
    step: int
    id: str
    seq: int
    created_ns: int
    parts: tuple[PartRef, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    parent: str | None = None
    incarnation: str = ""
    world_size: int = 1
    state_bytes: int = 0
    stored_bytes: int = 0
    n_leaves: int = 0
    environment: Mapping[str, object] = field(default_factory=dict)

    @property
    def created(self) -> datetime:
        """The time of the commit, aware, in UTC."""
        return datetime.fromtimestamp(self.created_ns / 1e9, tz=UTC)


def encode(record: CommitRecord) -> bytes:
    """Return the bytes of a commit object."""
    subjects = [
        {"name": part.key, "digest": {"blake3": part.digest.hex()}} for part in record.parts
    ]
    predicate = {
        "format": FORMAT,
        "run": record.run,
        "step": record.step,
        "id": record.id,
        "seq": record.seq,
        "created_ns": record.created_ns,
        "metrics": {name: _encode_float(value) for name, value in record.metrics.items()},
        "reason": record.reason,
        "parent": record.parent,
        "incarnation": record.incarnation,
        "world_size": record.world_size,
        "state_bytes": record.state_bytes,
        "stored_bytes": record.stored_bytes,
        "n_leaves": record.n_leaves,
        "environment": dict(record.environment),
        "parts": [{"rank": part.rank, "length": part.length} for part in record.parts],
    }
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return envelope.wrap(PAYLOAD_TYPE, statement)


def decode(data: bytes, *, what: str) -> CommitRecord:
    """Return the record of a commit object's bytes, every one of them checked.

    Raises:
        ManifestDamaged: The bytes are not what some save wrote.
        StoreTooNew: A newer version of holdfast wrote them.
    """
    statement = envelope.unwrap(data, PAYLOAD_TYPE, what=what)
    try:
        return _decode_statement(statement, what)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestDamaged(
            f"{what} is malformed ({error!r}). Nothing was loaded from it.", record=what
        ) from error


def _decode_statement(statement: Mapping[str, object], what: str) -> CommitRecord:
    if statement["_type"] != STATEMENT_TYPE:
        raise ValueError("not an in-toto statement")
    predicate_type = str(statement["predicateType"])
    p = statement["predicate"]
    subjects = statement["subject"]
    if not isinstance(p, dict) or not isinstance(subjects, list):
        raise ValueError("predicate or subject missing")
    if predicate_type != PREDICATE_TYPE or p["format"] != FORMAT:
        raise StoreTooNew(
            f"{what} has format {p.get('format')} ({predicate_type}); this version of holdfast "
            f"reads up to {FORMAT}. Nothing is wrong with the data: upgrade holdfast to load it.",
            found=p.get("format"),
            supported=FORMAT,
        )
    parts = tuple(
        PartRef(
            rank=_int(extra["rank"]),
            key=str(subject["name"]),
            digest=bytes.fromhex(subject["digest"]["blake3"]),
            length=_int(extra["length"]),
        )
        for subject, extra in zip(subjects, p["parts"], strict=True)
    )
    return CommitRecord(
        run=str(p["run"]),
        step=_int(p["step"]),
        id=str(p["id"]),
        seq=_int(p["seq"]),
        created_ns=_int(p["created_ns"]),
        parts=parts,
        metrics={str(k): _decode_float(v) for k, v in p["metrics"].items()},
        reason=str(p["reason"]),
        parent=None if p["parent"] is None else str(p["parent"]),
        incarnation=str(p["incarnation"]),
        world_size=_int(p["world_size"]),
        state_bytes=_int(p["state_bytes"]),
        stored_bytes=_int(p["stored_bytes"]),
        n_leaves=_int(p["n_leaves"]),
        environment=dict(p["environment"]),
    )


def _encode_float(value: float) -> float | str:
    # JSON has no NaN and no infinities; Python's names for them are read back by float().
    return value if math.isfinite(value) else str(value)


def _decode_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"metric {value!r} is no number")
    return float(value)


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
