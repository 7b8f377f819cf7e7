"""The health of a store at a glance: what is in it, and what is wrong, without reading chunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.errors import DataError
from holdfast.format.commit import CommitRecord
from holdfast.format.names import checkpoint_of
from holdfast.history import catalog
from holdfast.history.missing import missing_commits
from holdfast.history.stock import stored_in_all
from holdfast.history.sweep import find_garbage
from holdfast.records import commits, keyrings, marker, metric_files, notes, pins, tags
from holdfast.records.commits import DamagedCommit
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Facts about a store, and problems in words; none where all is well."""

    facts: Mapping[str, object]
    problems: tuple[str, ...]


def examine(store: ObjectStore) -> DoctorReport:
    """Look at every record of a store, and make its catalog anew.

    Chunks are not read: ``verify`` does that.
    """
    problems = marker.problems(store) + keyrings.problems(store)
    checkpoints = unfinished = garbage_bytes = state_bytes = 0
    names = commits.runs(store)
    for run in names:
        for found in commits.all_commits(store, run):
            if isinstance(found, DamagedCommit):
                problems.append(str(found.error))
                continue
            troubles = _part_problems(store, found)
            if troubles and not commits.is_listed(store, run, found.seq, found.id):
                continue  # It was removed meanwhile.
            checkpoints += 1
            state_bytes += found.state_bytes
            problems += troubles
        problems += [str(tag.error) for tag in tags.all_tags(store, run) if tag.error is not None]
        problems += [missing.problem for missing in missing_commits(store, run)]
        problems += notes.problems(store, run) + metric_files.problems(store, run)
        garbage = find_garbage(store, run)
        garbage_bytes += sum(info.size for info in garbage)
        begun = {pin.checkpoint_id for pin in pins.all_pins(store, run)}
        unfinished += len(begun | {checkpoint_of(info.key) for info in garbage})
    facts = {
        "location": store.location,
        "runs": len(names),
        "checkpoints": checkpoints,
        "state_bytes": state_bytes,
        "stored_bytes": stored_in_all(store),
        "unfinished": unfinished,
        "unneeded_bytes": garbage_bytes,
        "free_bytes": store.free_bytes(),
        "in_catalog": catalog.rebuild(store),
    }
    return DoctorReport(facts, tuple(problems))


def _part_problems(store: ObjectStore, record: CommitRecord) -> list[str]:
    try:
        for ref in record.parts:
            part = commits.read_part(store, record, ref)
            for pack in part.packs:
                if not store.exists(pack.key):
                    return [f"{record.run}@{record.step} needs {pack.key}, which is missing."]
    except DataError as error:
        return [str(error)]
    return []
