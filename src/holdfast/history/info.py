"""What users are told of a checkpoint and its leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.format.commit import CommitRecord
from holdfast.format.lineage import Origin
from holdfast.records.notes import Annotations, Value
from holdfast.security.trust_policy import TrustPolicy, Verdict


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A committed checkpoint.

    Attributes:
        run: Name of the run.
        step: The step that it was saved at.
        id: 32 hex digits, unique.
        seq: Number of the commit in the run; the newest has the highest.
        created: Time of the commit, aware, in UTC.
        metrics: Metrics that were given with the save.
        tags: Tags and names that it was given.
        state_bytes: Bytes of all its arrays, aliases counted once.
        stored_bytes: Bytes that this save wrote; what was stored already is not in it.
        n_leaves: Arrays, aliases and plain values.
        parent: Id of the checkpoint that training went on from, or None.
        reason: Why it was saved.
        environment: Versions, machine and code that it was saved with.
        incarnation: 32 hex digits, the same for all checkpoints that one process saved.
        not_finite: Elements that are NaN or infinite in the arrays that were looked at; None where
            none was.
        signed_by: Ids of the keys whose signatures it carries; whether they hold, ``trust`` says.
        trust: What the store's trust policy says of it; None where there is no policy.
        resumed_from: The checkpoint of this run that the process restored before it trained.
        forked_from: The checkpoint of another run, or in another store, that the run began at.
        config: What was given as ``config=``, or None.
        dataset: The fingerprint of the data that was given, or None.
        notes: Texts written on it, oldest first.
        values: Values set on it, by name.
        epoch: Epochs finished when it was saved; None where ``step`` was not told of any.
        base: The checkpoint that has what this one leaves out, or None.
    """

    run: str
    step: int
    id: str
    seq: int
    created: datetime
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    state_bytes: int = 0
    stored_bytes: int = 0
    n_leaves: int = 0
    parent: str | None = None
    reason: str = ""
    environment: Mapping[str, object] = field(default_factory=dict)
    incarnation: str = ""
    signed_by: tuple[str, ...] = ()
    trust: Verdict | None = None
    resumed_from: Origin | None = None
    forked_from: Origin | None = None
    config: Mapping[str, object] | None = None
    dataset: str | None = None
    notes: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    epoch: float | None = None
    not_finite: int | None = None
    base: Origin | None = None

    @property
    def ref(self) -> str:
        """The ref that names it: ``RUN@STEP``."""
        return f"{self.run}@{self.step}"

    @property
    def exact_ref(self) -> str:
        """The ref that names it even where its step was saved again later: ``RUN@ID``."""
        return f"{self.run}@{self.id}"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from holdfast.history.cards.checkpoint import checkpoint_card

        return checkpoint_card(self)


@dataclass(frozen=True, slots=True)
class LeafInfo:
    """One leaf of a checkpoint.

    Attributes:
        path: Keys and indices from the root, joined by ``/``.
        kind: ``array``, ``int``, ``str`` and so on.
        dtype: Element type of an array.
        shape: Shape of an array, in elements.
        nbytes: Bytes of an array; 0 for an alias and for plain values.
        value: The value of a plain leaf.
        alias_of: Path of the array that this leaf shares, if any.
        not_finite: Elements of an array that are NaN or infinite; None where nobody looked.
        cast_from: Element type that an array had in the state, where ``cast=`` made it ``dtype``;
            it comes back as that.
    """

    path: str
    kind: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    nbytes: int = 0
    value: object = None
    alias_of: str | None = None
    not_finite: int | None = None
    cast_from: str | None = None


def info_of(
    record: CommitRecord,
    tags: tuple[str, ...] = (),
    trust: TrustPolicy | None = None,
    annotations: Annotations | None = None,
) -> CheckpointInfo:
    """Return what users are told of a commit."""
    written = annotations or Annotations()
    return CheckpointInfo(
        run=record.run,
        step=record.step,
        id=record.id,
        seq=record.seq,
        created=record.created,
        metrics=dict(record.metrics),
        tags=tags,
        state_bytes=record.state_bytes,
        stored_bytes=record.stored_bytes,
        n_leaves=record.n_leaves,
        parent=record.parent,
        reason=record.reason,
        environment=dict(record.environment),
        incarnation=record.incarnation,
        signed_by=tuple(signature.key_id for signature in record.signatures),
        trust=trust.judge(record) if trust is not None else None,
        resumed_from=record.lineage.resumed_from,
        forked_from=record.lineage.forked_from,
        config=record.lineage.config,
        dataset=record.lineage.dataset,
        notes=written.texts,
        values=dict(written.values),
        epoch=record.epoch,
        not_finite=record.not_finite,
        base=record.lineage.base,
    )
