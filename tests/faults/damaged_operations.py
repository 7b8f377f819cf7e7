"""Flipped bits and cut files, all kinds of files of a store, under what changes a store.

Each operation has a process and a copy of the store of its own. When the damage is put right
afterwards, nothing else may be gone: what cannot be read is not deleted, and nor is what it needs.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import holdfast
from faults.children import carried_out
from faults.damage import damages, kind_of, with_all_kinds
from faults.effort import Effort
from faults.outcomes import Ended, Found, How, Trial, outcome_of
from faults.scenario import (
    OPERATIONS,
    RUN,
    Operation,
    Stage,
    carry_out,
    difference,
    look_at_contents,
    small_packs,
    tried,
)
from faults.threads import one_thread
from holdfast.errors import HoldfastError

NAME = "damage under operations"


def _copy_out(store: Path, _: Path) -> str:
    """Copy from the damaged store; ``copy`` itself copies into it."""
    target = store.with_name("target")
    shutil.rmtree(target, ignore_errors=True)
    holdfast.Store(store).copy(f"{RUN}@3", target)
    return difference(holdfast.load(target, f"{RUN}@3"), 3)


_STRUCK = [operation for operation in OPERATIONS.values() if operation.name != "restore"]
_STRUCK.append(Operation("copy", _copy_out))


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_packs():
        stage = Stage(folder / "stage")
        for operation in _STRUCK:
            yield from _trials(stage, operation, folder / "struck", effort)


def _trials(stage: Stage, operation: Operation, store: Path, effort: Effort) -> Iterator[Trial]:
    stage.set_up(operation, store)
    files = with_all_kinds(store)
    work = partial(carry_out, operation, store, stage.source)
    for damage in damages(files, random.Random(2), effort.flips_elsewhere):
        _put_back(files, store)
        damage.apply(store / damage.name, files[damage.name])
        struck = (store / damage.name).read_bytes()
        ended = carried_out(work)
        with one_thread():
            before = _while_damaged(operation, ended, store)
            _heal(store / damage.name, struck, files[damage.name])
            after = _when_healed(operation, ended, store, stage.source)
        found = Found(after.lost, before.differing + after.differing, after.unusable)
        told = f"{ended.told} {found.text}"[:2000]
        name = f"{damage.how}: {kind_of(damage.name)}"
        yield Trial(name, operation.name, outcome_of(ended, found), str(damage), told)


def _put_back(files: dict[str, bytes], store: Path) -> None:
    shutil.rmtree(store)
    for name, data in files.items():
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _while_damaged(operation: Operation, ended: Ended, store: Path) -> Found:
    """Load what is there: the damage is told, and what was just saved does not build on it."""
    differing = []
    for step in sorted(operation.may):
        try:
            differing.append(difference(holdfast.load(store, f"{RUN}@{step}"), step))
        except HoldfastError as error:
            if step in operation.adds and ended.how is How.RETURNED:
                differing.append(f"step {step} was just saved, and is damaged: {error}")
    return Found(differing=tuple(text for text in differing if text))


def _heal(path: Path, struck: bytes, data: bytes) -> None:
    """Put a file right again, unless the operation has done so, or has removed it."""
    if path.is_file() and path.read_bytes() == struck:
        path.write_bytes(data)


def _when_healed(operation: Operation, ended: Ended, store: Path, source: Path) -> Found:
    """Look whether anything but the damage itself has been lost."""
    unusable: list[str] = []
    if operation.is_damaged:
        unusable += tried("repair", lambda: holdfast.Store(store).repair([source]))
    found = look_at_contents(store, operation.must(ended), operation.may)
    return Found(found.lost, found.differing, tuple(unusable))
