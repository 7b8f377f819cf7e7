"""Signatures added to a checkpoint that is there already."""

from __future__ import annotations

from holdfast.engine import job as jobs
from holdfast.errors import DataError, NotFound, UsageError
from holdfast.format import commit as commit_format
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history.refs import resolve
from holdfast.history.verify import verify_records
from holdfast.records import commits, pins
from holdfast.records.rewriting import alone
from holdfast.security.authenticity import Authenticity
from holdfast.store.contract import ObjectStore


def sign_checkpoint(store: ObjectStore, ref: str, authenticity: Authenticity) -> CommitRecord:
    """Add signatures to the checkpoint that a ref names; return its record as it is then.

    It is verified first, every byte of it. The record is replaced in one step; its payload, and so
    what later commits and heads say of it, does not change.

    Raises:
        UsageError: There is nobody to sign.
        DataError: The checkpoint is damaged; nothing was changed.
        NotFound: There is no such checkpoint, or not any more.
    """
    if not authenticity.signers:
        raise UsageError("The store was opened without sign=, so there is nobody to sign.")
    record = resolve(store, ref)
    _require_good(store, record)
    assert record.envelope is not None, "it was read"
    data = commit_format.with_signatures(record, authenticity.sign(record.envelope.message))
    pin = pins.Pin(jobs.new_id(), tuple(part.key for part in record.parts))
    pins.put_pin(store, record.run, pin)
    try:
        # The pin keeps what it needs also from those who removed it a moment ago, and have not
        # swept yet.
        with alone(store, record.run):
            if not commits.is_listed(store, record.run, record.seq, record.id):
                raise NotFound(f"{ref} was removed meanwhile. Nothing was signed.", ref=ref)
            store.put(RunKeys(record.run).commit(record.seq), data)
    finally:
        pins.delete_pin(store, record.run, pin.checkpoint_id)
    return commit_format.decode(data, what=f"the signed commit {record.seq} of run {record.run!r}")


def _require_good(store: ObjectStore, record: CommitRecord) -> None:
    for check in verify_records(store, [record]):
        if not check.ok:
            problems = "; ".join(check.problems)
            raise DataError(
                f"{check.ref} is not good, so it was not signed: {problems}", ref=check.ref
            )
