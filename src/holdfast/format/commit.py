"""The commit record: the small object whose presence makes a checkpoint exist.

It is an in-toto Statement v1 whose subjects are the checkpoint's parts by BLAKE3 digest, and
whose predicate tells what the checkpoint is. ``envelope`` wraps it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format import envelope
from holdfast.format import lineage as lineage_format
from holdfast.format.envelope import Envelope, Sign, Signature
from holdfast.format.lineage import Lineage
from holdfast.format.names import is_id, is_part_key

FORMAT = 3
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
# By format: older readers shall refuse what they would misread, and nothing else.
PREDICATE_TYPES = {
    1: "https://holdfast.dev/checkpoint/v1",
    2: "https://holdfast.dev/checkpoint/v2",
    3: "https://holdfast.dev/checkpoint/v3",
}
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
class Link:
    """A commit by number and by the BLAKE3 digest of its payload, which no signature changes."""

    seq: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What a commit says of its checkpoint.

    ``state_bytes`` are the bytes of all arrays, ``stored_bytes`` those that this save wrote
    into packs and parts. ``created_ns`` counts nanoseconds since the epoch, UTC. ``previous`` is
    the commit that the writer found before it. ``envelope`` is what it was read from, with its
    signatures; None for one that was not read.
    ``names`` are the names for good that it was saved under. ``epoch`` is how many epochs were
    finished, None where nobody counts them. ``not_finite`` counts elements that
    are NaN or infinite in the arrays that were looked at; None where none was. ``format`` is 3
    where several ranks have saved it, 2 where a chunk of a part has a codec, else 1.
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
    lineage: Lineage = field(default_factory=Lineage)
    names: tuple[str, ...] = ()
    epoch: float | None = None
    not_finite: int | None = None
    previous: Link | None = None
    format: int = 1
    envelope: Envelope | None = field(default=None, compare=False, repr=False)

    @property
    def link(self) -> Link:
        """How the next commit names this one."""
        assert self.envelope is not None, "only a record that was read has a digest"
        return Link(self.seq, self.envelope.digest)

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The signatures that it carries; whether they hold is not known here."""
        return self.envelope.signatures if self.envelope is not None else ()

    @property
    def created(self) -> datetime:
        """The time of the commit, aware, in UTC."""
        return datetime.fromtimestamp(self.created_ns / 1e9, tz=UTC)


def encode(record: CommitRecord, sign: Sign | None = None) -> bytes:
    """Return the bytes of a commit object, signed where ``sign`` gives signatures."""
    subjects = [
        {"name": part.key, "digest": {"blake3": part.digest.hex()}} for part in record.parts
    ]
    predicate: dict[str, object] = {
        "format": record.format,
        "run": record.run,
        "step": record.step,
        "id": record.id,
        "seq": record.seq,
        "created_ns": record.created_ns,
        "metrics": {name: _encode_float(value) for name, value in record.metrics.items()},
        "reason": record.reason,
        "parent": record.parent,
        "previous": _encode_link(record.previous),
        "incarnation": record.incarnation,
        "world_size": record.world_size,
        "state_bytes": record.state_bytes,
        "stored_bytes": record.stored_bytes,
        "n_leaves": record.n_leaves,
        "environment": dict(record.environment),
        "lineage": lineage_format.encode(record.lineage),
        "names": list(record.names),
        "parts": [{"rank": part.rank, "length": part.length} for part in record.parts],
    }
    if record.epoch is not None:
        predicate["epoch"] = record.epoch
    if record.not_finite is not None:
        predicate["not_finite"] = record.not_finite
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPES[record.format],
        "predicate": predicate,
    }
    return envelope.wrap(PAYLOAD_TYPE, statement, sign)


def with_signatures(record: CommitRecord, signatures: Sequence[Signature]) -> bytes:
    """Return the bytes of a commit that was read, with signatures besides those that it has."""
    opened = record.envelope
    assert opened is not None, "only a record that was read can be signed afterwards"
    by_key = {item.key_id: item for item in (*opened.signatures, *signatures)}
    return envelope.seal(PAYLOAD_TYPE, opened.body, list(by_key.values()))


def decode(data: bytes, *, what: str) -> CommitRecord:
    """Return the record of a commit object's bytes, every one of them checked.

    Raises:
        ManifestDamaged: The bytes are not what some save wrote.
        StoreTooNew: A newer version of holdfast wrote them.
    """
    opened = envelope.open_envelope(data, PAYLOAD_TYPE, what=what)
    try:
        return replace(_decode_statement(opened.payload, what), envelope=opened)
    except StoreTooNew as error:
        error.stand_in = _stand_in(opened)
        raise
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
    known = {(kind, number) for number, kind in PREDICATE_TYPES.items()}
    if isinstance(p["format"], bool) or (predicate_type, p["format"]) not in known:
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
        previous=_decode_link(p["previous"]),
        lineage=lineage_format.decode(p["lineage"]),
        names=tuple(_text(name) for name in _list(p["names"])),
        epoch=_decode_epoch(p.get("epoch")),
        not_finite=_int(p["not_finite"]) if "not_finite" in p else None,
        format=_int(p["format"]),
    )
    if record.previous is not None and record.previous.seq >= record.seq:
        raise ValueError("the previous commit has a higher number")
    if not record.parts or len(record.parts) != record.world_size:
        raise ValueError(f"{len(record.parts)} parts of {record.world_size}")
    if any(not is_part_key(record.run, part.key) for part in record.parts):
        raise ValueError("a part's key is none of this run")
    return record


def _stand_in(opened: Envelope) -> CommitRecord:
    """Return what is known of a commit of a newer format: whose it is, and what it came after.

    That is where version 1 has it, as far as it is there; number and id are none.
    """
    predicate = opened.payload.get("predicate")
    p = predicate if isinstance(predicate, dict) else {}
    run, created_ns, previous = p.get("run"), time.time_ns(), None
    with suppress(KeyError, TypeError, ValueError):
        created_ns = _int(p["created_ns"])
    with suppress(KeyError, TypeError, ValueError):
        previous = _decode_link(p["previous"])
    return CommitRecord(
        run=run if isinstance(run, str) else "",
        step=0,
        id="",
        seq=0,
        created_ns=created_ns,
        parts=(),
        incarnation="",
        previous=previous,
        envelope=opened,
    )


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


def _encode_link(link: Link | None) -> dict[str, object] | None:
    return None if link is None else {"seq": link.seq, "blake3": link.digest.hex()}


def _decode_link(value: Any) -> Link | None:
    return None if value is None else Link(_int(value["seq"]), _digest(value["blake3"]))


def _encode_float(value: float) -> float | str:
    # JSON has no NaN and no infinities; Python's names for them are read back by float().
    return value if math.isfinite(value) else str(value)


def _decode_float(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and value not in _NOT_FINITE:
        raise ValueError(f"metric {value!r} is no number")
    return float(value)  # type: ignore[arg-type]


def _decode_epoch(value: object) -> float | None:
    if value is None:
        return None
    epoch = _decode_float(value)
    if not math.isfinite(epoch):
        raise ValueError(f"{value!r} is no number of epochs")
    return epoch


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{value!r} is no count")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")
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
