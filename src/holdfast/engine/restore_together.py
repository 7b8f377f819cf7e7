"""Several ranks restore one and the same checkpoint, or none of them goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast.chunks.read import NOTHING_READ, ReadBytes
from holdfast.distributed.ranks import Ranks
from holdfast.engine.peers.mending import explained, mend
from holdfast.engine.restore import Outcome, Wanted, restore_checkpoint
from holdfast.engine.restore_ref import none_good
from holdfast.errors import DataError, HoldfastError, RestoreIncomplete, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history.chain import require_head
from holdfast.history.meaning import LATEST
from holdfast.history.missing import missing_commits
from holdfast.history.refs import resolve
from holdfast.records import commits
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


def restore_together(
    ranks: Ranks, store: ObjectStore, run: str, name: str | int | None, wanted: Wanted
) -> Outcome | None:
    """Restore what rank 0 finds under a name on every rank; for ``latest`` the newest good one.

    A checkpoint that is damaged for one rank is stepped over by all. What it had put into the state
    of others is put over by the next.

    Args:
        ranks: Those that restore.
        store: Where the checkpoint is.
        run: The run.
        name: A ref of any run, or what follows ``@`` of this one's; None: ``latest``.
        wanted: What to restore, into what.

    Returns:
        None where the run has no checkpoint at all, and none was named.

    Raises:
        RestoreIncomplete: Another rank could not restore it.
        NoGoodCheckpoint: None is good for all ranks.
    """
    stepped_over: list[str] = []
    tried: list[tuple[str, int]] = []
    while True:
        said = ranks.group.broadcast(_candidate(store, run, name, wanted, tried, ranks.rank))
        if said["error"]:
            raise RestoreIncomplete(f"Rank 0 found nothing to restore: {said['error']}")
        if said["seq"] is None:
            if stepped_over:
                raise none_good(run, stepped_over)
            return None
        outcome, error = _tried(store, said, _asked(run, name), wanted)
        answers = ranks.group.gather(_answer(outcome, error))
        failed = [(rank, told) for rank, told in enumerate(answers) if told["text"]]
        if not failed and outcome is not None:
            nbytes = tuple(ReadBytes(told["read"], told["wanted"]) for told in answers)
            return replace(outcome, stepped_over=tuple(stepped_over), nbytes_of_ranks=nbytes)
        rank, told = failed[0]
        if said["is_named"] or not told["is_damage"]:
            raise error or RestoreIncomplete(
                f"Rank {rank} could not restore: {told['text']} This rank may have the "
                "checkpoint's values already: do not go on with this state."
            )
        text = (
            f"commit {said['seq']} of {said['run']} was stepped over, rank {rank}: {told['text']}"
        )
        _log.warning("%s", text)
        stepped_over.append(text)
        tried.append((said["run"], said["seq"]))


def _candidate(
    store: ObjectStore,
    run: str,
    name: str | int | None,
    wanted: Wanted,
    tried: list[tuple[str, int]],
    rank: int,
) -> dict[str, object]:
    """Return which commit to restore, as rank 0 finds it; others need not look."""
    nothing: dict[str, object] = {"run": run, "seq": None, "is_named": False, "error": ""}
    nothing["asked"] = _asked(run, name)
    if rank:
        return nothing
    try:
        return nothing | _found(store, run, name, wanted, tried)
    except HoldfastError as error:
        return nothing | {"error": error.message}


def _found(
    store: ObjectStore,
    run: str,
    name: str | int | None,
    wanted: Wanted,
    tried: list[tuple[str, int]],
) -> dict[str, object]:
    ref = None if name is None else str(name)
    if ref not in (None, LATEST, f"{run}@{LATEST}"):
        record = resolve(store, ref if "@" in str(ref) else f"{run}@{ref}")
        return {"run": record.run, "seq": record.seq, "is_named": True}
    require_head(run, list(commits.all_commits(store, run)), wanted.trust)
    lost = {missing.seq for missing in missing_commits(store, run)}
    numbers = {*commits.sequence_numbers(store, run), *lost}
    left = [number for number in numbers if (run, number) not in tried]
    return {"seq": max(left, default=None)}


def _asked(run: str, name: str | int | None) -> str:
    """Return what is asked for as a whole ref."""
    ref = LATEST if name is None else str(name)
    return ref if "@" in ref else f"{run}@{ref}"


def _tried(
    store: ObjectStore, said: Mapping[str, Any], asked: str, wanted: Wanted
) -> tuple[Outcome | None, HoldfastError | None]:
    try:
        if asked != said["asked"]:
            raise UsageError(
                f"Ranks that restore together restore the same: this one asks for {asked!r}, and "
                f"rank 0 for {said['asked']!r}. Nothing was changed here.",
                ref=asked,
            )
        record = commits.read_commit(store, said["run"], said["seq"])
        return _mended(store, record, wanted), None
    except HoldfastError as error:
        return None, error


def _mended(store: ObjectStore, record: CommitRecord, wanted: Wanted) -> Outcome:
    """Restore a checkpoint; where it is damaged here, by what other hosts have of it."""
    try:
        return restore_checkpoint(store, record, wanted)
    except RestoreIncomplete:
        raise
    except DataError as error:
        if not mend(store, record):
            raise explained(store, record, error) from error
    return restore_checkpoint(store, record, wanted)


def _answer(outcome: Outcome | None, error: HoldfastError | None) -> dict[str, object]:
    is_damage = isinstance(error, DataError) and not isinstance(error, RestoreIncomplete)
    nbytes = outcome.nbytes if outcome is not None else NOTHING_READ
    return {
        "text": error.message if error is not None else "",
        "is_damage": is_damage,
        "read": nbytes.read,
        "wanted": nbytes.wanted,
    }
