"""Tags and names given to checkpoints that others may be removing at the same moment."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.errors import NotFound, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.format.names import check_tag
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
    _give(store, ref, trust, lambda record: tag_checkpoint(store, record, name))


def give_name(store: ObjectStore, ref: str, name: str, trust: TrustPolicy | None = None) -> None:
    """Name the checkpoint of a ref for good.

    Raises:
        Untrusted: The policy trusts no checkpoint that the ref could mean.
        NotFound: The ref names no checkpoint, or none any more.
        AlreadyExists: The name is taken.
    """
    _give(store, ref, trust, lambda record: name_checkpoint(store, record, name))


def _give(
    store: ObjectStore, ref: str, trust: TrustPolicy | None, give: Callable[[CommitRecord], bool]
) -> None:
    for _ in range(ATTEMPTS):
        if give(resolve(store, ref, trust)):
            return
    raise removed_too_fast(split_ref(ref)[0])


def tag_checkpoint(store: ObjectStore, record: CommitRecord, name: str) -> bool:
    """Name a checkpoint; False, and no tag, if somebody has removed it."""
    before = tags.find(store, record.run, check_tag(name))
    tags.put_tag(store, record.run, name, record.id)
    if _is_still_there(store, record):
        return True
    if before is None or before.is_fixed or before.error is not None:
        tags.delete_tag(store, record.run, name)
    else:
        tags.put_tag(store, record.run, name, before.checkpoint_id)
    return False


def name_checkpoint(store: ObjectStore, record: CommitRecord, name: str) -> bool:
    """Name a checkpoint for good; False, and no name, if somebody has removed it."""
    tags.put_name(store, record.run, name, record.id)
    if _is_still_there(store, record):
        return True
    tags.take_back_name(store, record.run, name)
    return False


def _is_still_there(store: ObjectStore, record: CommitRecord) -> bool:
    # After the tag is visible, not before: see records.removals.
    removals.wait_for_end(store, record.run, record.id)
    return commits.is_listed(store, record.run, record.seq, record.id)


def take_tag(store: ObjectStore, run: str, name: str) -> None:
    """Take a tag away; the checkpoint stays.

    Raises:
        NotFound: The run has no such tag.
        UsageError: It is a name for good.
    """
    tag = tags.find(store, run, name)
    if tag is None:
        raise NotFound(f"Run {run!r} has no tag {name!r}.", run=run, tag=name)
    if tag.is_fixed:
        raise UsageError(
            f"{run}@{name} is a name for good; it is not taken away. Nothing was changed. Remove "
            f"the checkpoint itself, if it shall go: 'holdfast rm {run}@{name}'.",
            run=run,
            tag=name,
        )
    tags.delete_tag(store, run, name)
