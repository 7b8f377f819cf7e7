"""Lineage: what each checkpoint went on from, within a run and across runs.

What is stored may be wrong on purpose: a chain of parents may lead back to where it began. Nothing
here follows a chain further than there are checkpoints or runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.format.lineage import Origin
from holdfast.history.info import CheckpointInfo
from holdfast.history.summary import RunSummary


@dataclass(frozen=True, slots=True)
class Branch:
    """A run in the tree of runs.

    Attributes:
        run: Its name.
        depth: How many forks lie between it and a run that forked from none of the store.
        forked_from: The checkpoint that it began at, in another run or store; or None.
        summary: The run at a glance.
    """

    run: str
    depth: int
    forked_from: Origin | None
    summary: RunSummary


def ancestors(infos: Sequence[CheckpointInfo]) -> list[tuple[str, str | None]]:
    """Return the id of each checkpoint of a run and of the nearest one before it that is left.

    That is its parent. Where the parent was removed, it is the one that the same process saved
    before; where there is none either, the one that the process resumed from.

    Args:
        infos: The checkpoints of a run, oldest first.
    """
    older: set[str] = set()
    last_of: dict[str, str] = {}
    found = []
    for info in infos:
        resumed = info.resumed_from.id if info.resumed_from is not None else None
        candidates = (info.parent, last_of.get(info.incarnation), resumed)
        # Only older ones, so that no chain comes back.
        found.append((info.id, next((c for c in candidates if c in older), None)))
        older.add(info.id)
        last_of[info.incarnation] = info.id
    return found


def with_forebears(
    log_of: Callable[[str], Sequence[CheckpointInfo]], run: str, wanted: str, store_id: str | None
) -> list[CheckpointInfo]:
    """Return a run's checkpoints behind those of the runs that it was forked from, oldest first.

    Of these runs it has what came up to the fork, and it goes back until it has what is wanted. It
    does not leave the store: a run here with the name of one in another store is another one.

    Args:
        log_of: Gives the checkpoints of a run of the same store, oldest first.
        run: The run.
        wanted: Id of a checkpoint.
        store_id: The id of the store.

    Raises:
        NotFound: A run that it was forked from is not there.
    """
    line = list(log_of(run))
    seen = {run}
    while line and all(info.id != wanted for info in line):
        origin = line[0].forked_from
        if origin is None or origin.store not in (None, store_id) or origin.run in seen:
            break
        seen.add(origin.run)
        line = [*_up_to(origin, log_of(origin.run), line[0]), *line]
    return line


def _up_to(
    origin: Origin, log: Sequence[CheckpointInfo], fork: CheckpointInfo
) -> Sequence[CheckpointInfo]:
    for place, info in enumerate(log):
        if info.id == origin.id:
            return log[: place + 1]
    # It was removed since: what is left from before it.
    return [info for info in log if info.step <= origin.step and info.created < fork.created]


def forest(runs: Mapping[str, RunSummary], store_id: str | None) -> list[Branch]:
    """Return runs so that each comes below the run that it was forked from.

    Args:
        runs: The runs of a store by name, in the order in which those of one depth shall come.
        store_id: The store's id; a fork from another store is a root here.
    """
    origins = {run: _origin(summary) for run, summary in runs.items()}
    below: dict[str | None, list[str]] = {}
    for run, origin in origins.items():
        below.setdefault(_parent_run(run, origin, origins, store_id), []).append(run)
    seen: dict[str, int] = {}
    _walk(below, below.get(None, []), seen)
    for run in runs:
        if run not in seen:  # Of a circle, which has no root.
            _walk(below, [run], seen)
    return [Branch(run, depth, origins[run], runs[run]) for run, depth in seen.items()]


def _walk(below: Mapping[str | None, list[str]], roots: list[str], seen: dict[str, int]) -> None:
    waiting = [(run, 0) for run in reversed(roots)]
    while waiting:
        run, depth = waiting.pop()
        if run not in seen:
            seen[run] = depth
            waiting += [(child, depth + 1) for child in reversed(below.get(run, []))]


def _origin(summary: RunSummary) -> Origin | None:
    return summary.latest.forked_from if summary.latest is not None else None


def _parent_run(
    run: str, origin: Origin | None, runs: Mapping[str, Origin | None], store_id: str | None
) -> str | None:
    if origin is None or origin.run == run or origin.run not in runs:
        return None
    return origin.run if origin.store in (None, store_id) else None
