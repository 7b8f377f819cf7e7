"""Stores with very many checkpoints, made by writing the records themselves: small, and quickly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import holdfast
from holdfast.format import commit as commit_format
from holdfast.format import part as part_format
from holdfast.format.commit import CommitRecord, PartRef
from holdfast.format.digests import digest
from holdfast.format.lineage import Lineage, Origin
from holdfast.format.names import RunKeys
from holdfast.records import commits
from holdfast.records.opening import open_store


def make_big_store(folder: Path, *, n_runs: int, n_checkpoints: int) -> None:
    """Make a store of runs ``run-0`` and so on, each forked from the one before it.

    Every checkpoint is whole: it can be shown, restored and verified. All of a run share one pack.
    """
    tree = {"w": np.arange(4.0), "lr": 0.1}
    for run in (f"run-{number}" for number in range(n_runs)):
        holdfast.save(folder, tree, run=run, step=0, metrics={"loss": 9.0, "val_loss": 9.0})
    store = open_store(folder, create=False)
    forked_from = None
    for number in range(n_runs):
        run = f"run-{number}"
        first = commits.read_commit(store, run, 1)
        record = replace(first, lineage=Lineage(forked_from=forked_from, config={"lr": 0.1}))
        part = commits.read_part(store, first, first.parts[0])
        for seq in range(2, n_checkpoints + 1):
            record = _write_next(folder, record, part, seq)
        forked_from = Origin(None, run, record.step, record.id)


def _write_next(
    folder: Path, before: CommitRecord, part: part_format.Part, seq: int
) -> CommitRecord:
    step, name, keys = 10 * seq, f"{int(before.id, 16) + 1:032x}"[-32:], RunKeys(before.run)
    data = part_format.encode(replace(part, checkpoint_id=name, step=step))
    ref = PartRef(0, keys.part(name, 0), digest(data), len(data))
    record = replace(
        before,
        step=step,
        seq=seq,
        id=name,
        parent=before.id,
        created_ns=before.created_ns + 10**9,
        parts=(ref,),
        metrics={"loss": 8.0 / seq, "val_loss": 8.0 / seq + abs(seq - 700) / 1000},
        reason="every 10 steps",
    )
    (folder / ref.key).write_bytes(data)
    (folder / keys.commit(seq)).write_bytes(commit_format.encode(record))
    return record
