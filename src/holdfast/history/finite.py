"""What users are told of a checkpoint that has values that are not finite."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.format.commit import CommitRecord
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

_AT_MOST = 8


def leaves_not_finite(store: ObjectStore, record: CommitRecord) -> list[str]:
    """Return the paths of the first leaves of a checkpoint that have values that are not finite."""
    if not record.not_finite:
        return []
    from holdfast.history.leaves import leaves

    try:
        found = [leaf.path for leaf in leaves(store, record) if leaf.not_finite]
    except HoldfastError:
        return []  # It is only told for the sake of whoever looks for the cause.
    return found[:_AT_MOST]


def warn_of(record: CommitRecord, leaves: Sequence[str]) -> None:
    """Warn of a checkpoint that has values that are not finite, in those leaves and maybe more."""
    where = ", ".join(map(repr, leaves[:3])) + (" and others" if len(leaves) > 3 else "")
    _log.warning(
        "%s@%s is saved, and %d value(s) of it are NaN or infinite%s. It is never taken for the "
        "best; 'holdfast show' tells how many are in which leaf.",
        record.run,
        record.step,
        record.not_finite,
        f", in {where}" if leaves else "",
    )
