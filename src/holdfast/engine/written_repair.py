"""Repair of what was written about a run: notes, metrics of steps, and names that commits tell of.

Nothing says what a note or a segment of metrics should be, as a digest says it of a chunk. They are
taken from copies of the very same store only, where what has the same number is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from holdfast.errors import AlreadyExists, DataError
from holdfast.format.names import RunKeys
from holdfast.records import commits, marker, metric_files, notes, tags
from holdfast.store.contract import ObjectStore

# What was put right, or would be: its key, and what was done.
Done = tuple[str, str]
IsGood = Callable[[ObjectStore], bool]


def mend_written(
    store: ObjectStore, run: str, sources: Sequence[ObjectStore], *, dry_run: bool
) -> tuple[list[Done], list[str]]:
    """Put right what can be; return that, and what could not be, in words.

    Only to be called by who holds the run's lock, or for a dry run.
    """
    ours = marker.store_id(store)
    copies = [s for s in sources if ours is not None and marker.store_id(s) == ours]
    done: list[Done] = []
    lost: list[str] = []
    for key, is_good, error in _damaged(store, run):
        source = next((copy for copy in copies if is_good(copy)), None)
        if source is None:
            lost.append(f"{error} It is passed over; no checkpoint depends on it.")
            continue
        done.append((key, f"{_kind(key)} taken from {source.location}"))
        if not dry_run:
            store.put(key, source.get(key))
    return [*done, *_names_given(store, run, dry_run=dry_run)], lost


def _damaged(store: ObjectStore, run: str) -> Iterator[tuple[str, IsGood, DataError]]:
    """Yield what cannot be read: its key, what says whether a store has it whole, and why not."""
    for seq, error in notes.damaged(store, run):
        yield RunKeys(run).note(seq), partial(notes.is_good, run=run, seq=seq), error
    for segment, error in metric_files.damaged(store, run):
        key = metric_files.key_of(run, segment.number, is_live=segment.is_live)
        yield key, partial(metric_files.is_good, run=run, segment=segment), error


def _kind(key: str) -> str:
    return "note" if "/notes/" in key else "metrics"


def _names_given(store: ObjectStore, run: str, *, dry_run: bool) -> Iterator[Done]:
    """Give checkpoints the names that their commits tell of and that nobody has."""
    for record in commits.good_commits(store, run):
        for name in record.names:
            if tags.find(store, run, name) is not None:
                continue
            try:
                if not dry_run:
                    tags.put_name(store, run, name, record.id)
            except AlreadyExists:
                continue  # Somebody was faster.
            yield RunKeys(run).name(name), f"name given to {run}@{record.step} again"
