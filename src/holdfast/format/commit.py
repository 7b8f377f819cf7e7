"""The commit record: the small object whose presence makes a checkpoint exist.

It is an in-toto Statement v1 whose subjects are the checkpoint's parts by BLAKE3 digest, and
whose predicate tells what the checkpoint is. ``envelope`` wraps it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import envelope
from holdfast.format.names import is_id, is_part_key

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://holdfast.dev/checkpoint/v1"
MAX_NUMBER = 2**63 - 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NOT_FINITE = ("nan", "inf", "-inf")


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
    into packs and parts. ``created_ns`` counts nanoseconds since the epoch, UTC.
    """

    run: str
    step: int
    id: str
    seq: int
    created_ns: int
    parts: tuple[PartRef, ...]
    incarnation: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    parent: str | None = None
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
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
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
    record = CommitRecord(
        run=_text(p["run"]),
        step=_int(p["step"]),
        id=_id(p["id"]),
        seq=_int(p["seq"]),
        created_ns=_int(p["created_ns"]),
        parts=_decode_parts(subjects, p["parts"]),
        metrics={_text(k): _decode_float(v) for k, v in p["metrics"].items()},
        reason=_text(p["reason"]),
        parent=None if p["parent"] is None else _id(p["parent"]),
        incarnation=_id(p["incarnation"]),
        world_size=_int(p["world_size"]),
        state_bytes=_int(p["state_bytes"]),
        stored_bytes=_int(p["stored_bytes"]),
        n_leaves=_int(p["n_leaves"]),
        environment=dict(p["environment"]),
    )
    if not record.parts or len(record.parts) != record.world_size:
        raise ValueError(f"{len(record.parts)} parts of {record.world_size}")
    if any(not is_part_key(record.run, part.key) for part in record.parts):
        raise ValueError("a part's key is none of this run")
    return record


def _decode_parts(subjects: list[Any], extras: list[Any]) -> tuple[PartRef, ...]:
    parts = tuple(
        PartRef(
            rank=_int(extra["rank"]),
            key=_text(subject["name"]),
            digest=_digest(subject["digest"]["blake3"]),
            length=_int(extra["length"]),
        )
        for subject, extra in zip(subjects, extras, strict=True)
    )
    if [part.rank for part in parts] != list(range(len(parts))):
        raise ValueError("the ranks do not count up from 0")
    return parts


def _encode_float(value: float) -> float | str:
    # JSON has no NaN and no infinities; Python's names for them are read back by float().
    return value if math.isfinite(value) else str(value)


def _decode_float(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and value not in _NOT_FINITE:
        raise ValueError(f"metric {value!r} is no number")
    return float(value)  # type: ignore[arg-type]


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{value!r} is no count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _id(value: object) -> str:
    if not is_id(value):
        raise ValueError(f"{value!r} is no id")
    return str(value)


def _digest(value: str) -> bytes:
    if _DIGEST.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no digest")
    return bytes.fromhex(value)
