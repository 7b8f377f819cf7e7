"""The log of a run: its readable checkpoints in order, with their tags."""

from __future__ import annotations

from holdfast.errors import NotFound
from holdfast.format.names import check_run
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.records import commits, tags
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore


def log(store: ObjectStore, run: str, trust: TrustPolicy | None = None) -> list[CheckpointInfo]:
    """Return a run's checkpoints, oldest first; those whose commit is damaged are left out.

    With a policy each says whether it is trusted.

    Raises:
        NotFound: There is no such run.
    """
    require_run(store, run)
    by_id = tags.tags_by_checkpoint(store, run)
    return [info_of(c, by_id.get(c.id, ()), trust) for c in commits.good_commits(store, run)]


def require_run(store: ObjectStore, run: str) -> None:
    """Raise NotFound, naming what there is, where the store has no such run."""
    names = commits.runs(store)
    if check_run(run) not in names:
        there = ", ".join(map(repr, names[:10])) or "none"
        raise NotFound(
            f"There is no run {run!r} in the store at {store.location!r}. Runs there: {there}.",
            run=run,
        )
