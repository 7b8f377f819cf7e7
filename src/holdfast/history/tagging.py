"""Tags given to checkpoints that others may be removing at the same moment."""

from __future__ import annotations

from holdfast.format.commit import CommitRecord
from holdfast.history.refs import ATTEMPTS, removed_too_fast, resolve, split_ref
from holdfast.records import commits, removals, tags
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore


def give_tag(store: ObjectStore, ref: str, name: str, trust: TrustPolicy | None = None) -> None:
    """Name the checkpoint of a ref; once this returns, no retention removes it.

    Raises:
        Untrusted: The policy trusts no checkpoint that the ref could mean.
        NotFound: The ref names no checkpoint, or none any more.
    """
    for _ in range(ATTEMPTS):
        record = resolve(store, ref, trust)
        if tag_checkpoint(store, record, name):
            return
    raise removed_too_fast(split_ref(ref)[0])


def tag_checkpoint(store: ObjectStore, record: CommitRecord, name: str) -> bool:
    """Name a checkpoint; False, and no tag, if somebody has removed it."""
    before = _named_by(store, record.run, name)
    tags.put_tag(store, record.run, name, record.id)
    # After the tag is visible, not before: see records.removals.
    removals.wait_for_end(store, record.run, record.id)
    if commits.is_listed(store, record.run, record.seq, record.id):
        return True
    if before is None:
        tags.delete_tag(store, record.run, name)
    else:
        tags.put_tag(store, record.run, name, before)
    return False


def _named_by(store: ObjectStore, run: str, name: str) -> str | None:
    found = [tag for tag in tags.all_tags(store, run) if tag.name == name and tag.error is None]
    return found[0].checkpoint_id if found else None
