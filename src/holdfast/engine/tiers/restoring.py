"""A run restored from whichever of its tiers has the newest good checkpoint, the nearest first.

Newer is what was saved later, not what has the higher step: who went back to step 300 and saved
320 goes on from 320, whatever is at 500. Within a store the numbers of commits say it; between
stores the time of the save does, which is the same in all of them.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from holdfast.distributed.ranks import Ranks
from holdfast.engine.restore import Outcome, Wanted
from holdfast.engine.restore_ref import (
    Candidate,
    RemovedMeanwhile,
    restore_first,
    restore_named,
)
from holdfast.engine.restore_together import restore_together
from holdfast.engine.tiers.beside_home import Source
from holdfast.engine.tiers.kinds import HOME
from holdfast.errors import (
    ChunkMissing,
    DataError,
    HoldfastError,
    ManifestDamaged,
    NoGoodCheckpoint,
    NotFound,
    StoreUnavailable,
)
from holdfast.format.commit import MAX_NUMBER, CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history import missing
from holdfast.history.chain import require_head
from holdfast.history.meaning import LATEST
from holdfast.history.refs import ATTEMPTS, removed_too_fast
from holdfast.records import commits
from holdfast.records.commits import DamagedCommit

_log = logging.getLogger("holdfast")

# Why; None where only another rank knows.
Absent = Mapping[str, HoldfastError | None]


def restore_nearest(
    sources: Sequence[Source], absent: Absent, run: str, name: str | int | None, wanted: Wanted
) -> Outcome | None:
    """Restore what a run's own script names, from the tiers of the run.

    Args:
        sources: The stores, nearest first.
        absent: Tiers that cannot be reached, and why.
        run: The run.
        name: A ref of any run, or what follows ``@`` of this one's; None: the newest good one. What
            is named is looked up at home first.
        wanted: What to restore, into what.

    Returns:
        None where no tier has a checkpoint of the run, and none was named.

    Raises:
        StoreUnavailable: There is none where one could look, but some tier could not be reached.
        NoGoodCheckpoint: There are checkpoints, but none is good.
    """
    is_newest = name is None or str(name) in (LATEST, f"{run}@{LATEST}")
    if not is_newest:
        return _named(sources, run, name, wanted)
    outcome = _newest(sources, run, wanted)
    if outcome is None and absent:
        raise _out_of_reach(run, absent)
    for tier, error in absent.items():
        _log.warning("The tier %r could not be asked for checkpoints: %s", tier, error)
    return outcome


def _newest(sources: Sequence[Source], run: str, wanted: Wanted) -> Outcome | None:
    damaged: dict[str, str] = {}
    for _ in range(ATTEMPTS):
        with suppress(RemovedMeanwhile):
            return restore_first(run, candidates(sources, run), wanted, damaged)
    raise removed_too_fast(run)


def candidates(sources: Sequence[Source], run: str) -> Iterator[Candidate]:
    """Yield the checkpoints of a run in all its tiers, those that were saved last first.

    Of one that is in several tiers the nearest comes first. Of a store that is far only those are
    read that are asked for, and one more.

    Raises:
        RolledBack: One of the stores is not what its policy's head says.
    """
    ordered = [_dated(source, nearness, run) for nearness, source in enumerate(sources)]
    for _, candidate in heapq.merge(*ordered, key=lambda item: item[0]):
        yield candidate


def _dated(
    source: Source, nearness: int, run: str
) -> Iterator[tuple[tuple[int, int, int], Candidate]]:
    """Yield the checkpoints of a store, newest first, each with what orders it among all."""
    newest_ns = MAX_NUMBER
    for order, found in enumerate(_listed(source, run)):
        # The order of commits in a store holds, whatever the clock did; where a commit cannot
        # be read it is taken to be as new as the one after it.
        if isinstance(found, CommitRecord):
            newest_ns = min(newest_ns, found.created_ns)
        candidate = Candidate(source.store, found, source.tier, source.trust, True)
        yield (-newest_ns, nearness, order), candidate


def _listed(source: Source, run: str) -> Iterator[CommitRecord | DamagedCommit]:
    """Yield the commits of a store, newest first."""
    has_head = source.trust is not None and run in source.trust.heads
    if source.tier == HOME or has_head:
        listed = missing.all_commits(source.store, run)
        require_head(run, listed, source.trust)
        yield from reversed(listed)
        return
    try:
        for seq in reversed(commits.sequence_numbers(source.store, run)):
            try:
                yield commits.read_commit(source.store, run, seq)
            except ChunkMissing:
                continue
            except DataError as error:
                yield DamagedCommit(RunKeys(run).commit(seq), seq, error)
    except StoreUnavailable as error:
        _log.warning("The tier %r could not be asked for checkpoints: %s", source.tier, error)


def _named(
    sources: Sequence[Source], run: str, name: str | int | None, wanted: Wanted
) -> Outcome | None:
    not_found: HoldfastError | None = None
    for source in sorted(sources, key=lambda source: source.tier != HOME):
        try:
            outcome = restore_named(source.store, run, name, replace(wanted, trust=source.trust))
            return None if outcome is None else replace(outcome, tier=source.tier)
        except (NotFound, ManifestDamaged) as error:
            # What has lost its commit record in one tier may be whole in another.
            if isinstance(error, ManifestDamaged) and "lost" not in error.facts:
                raise
            not_found = not_found or error
    assert not_found is not None
    raise not_found


def restore_together_nearest(
    ranks: Ranks,
    sources: Sequence[Source],
    absent: Absent,
    run: str,
    name: str | int | None,
    wanted: Wanted,
) -> Outcome | None:
    """Restore on every rank what home has; where it has nothing good, what the next tier has.

    All ranks come to the same: they look at those tiers that all of them can reach, and what each
    has is told by rank 0. Arguments and errors are those of ``restore_nearest``.
    """
    if len(sources) + len(absent) > 1:
        here = {"there": [s.tier for s in sources], "absent": sorted(absent)}
        said = ranks.group.gather(here)
        everywhere = set.intersection(*(set(one["there"]) for one in said))
        sources = [source for source in sources if source.tier in everywhere]
        absent = {tier: absent.get(tier) for one in said for tier in one["absent"]}
    failed: HoldfastError | None = None
    for source in sources:
        try:
            at = replace(wanted, trust=source.trust)
            outcome = restore_together(ranks, source.store, run, name, at)
        except NoGoodCheckpoint as error:
            failed = failed or error
            continue
        if outcome is not None:
            return replace(outcome, tier=source.tier)
    if failed is not None:
        raise failed
    if absent:
        raise _out_of_reach(run, absent)
    return None


def _out_of_reach(run: str, absent: Absent) -> StoreUnavailable:
    tier, error = next(iter(absent.items()))
    return StoreUnavailable(
        f"Run {run!r} has no checkpoint that is near, and the tier {tier!r}, which may have one, "
        f"cannot be reached: {error or 'another rank says so.'} Training did not silently begin "
        "anew. Try again, or leave the tier out to begin anew.",
        run=run,
        tier=tier,
    )
