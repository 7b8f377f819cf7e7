"""Whether a store has a run of some name."""

from __future__ import annotations

from holdfast.errors import NotFound
from holdfast.format.names import check_run
from holdfast.records import commits
from holdfast.store.contract import ObjectStore


def require_run(store: ObjectStore, run: str) -> None:
    """Raise NotFound, naming what there is, where the store has no such run."""
    names = commits.runs(store)
    if check_run(run) not in names:
        there = ", ".join(map(repr, names[:10])) or "none"
        raise NotFound(
            f"There is no run {run!r} in the store at {store.location!r}. Runs there: {there}.",
            run=run,
        )
