"""Flipped bits and cut files, all kinds of files of a store, and what a restore makes of them.

All in one process: only the damaged file has to be put back. ``damaged_operations`` has the others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import holdfast
from faults.effort import Effort
from faults.flips import Damage, by_kind
from faults.outcomes import Ended, Found, How, Outcome, Trial, outcome_of
from faults.scenario import (
    BEFORE,
    RUN,
    difference,
    save,
    small_state,
    tree,
)
from faults.threads import one_thread
from holdfast.errors import HoldfastError
from holdfast.format.names import RunKeys
from holdfast.records import commits, pins
from holdfast.records.opening import open_store

NAME = "damage"
KINDS = (
    *("marker", "commits", "parts", "packs", "tags", "names", "notes", "metrics", "pins"),
    *("removals", "journal", "lock", "catalog"),
)
_TOP = {
    "holdfast.json": "marker",
    "catalog.sqlite": "catalog",
    "events.jsonl": "journal",
    "writer.lock": "lock",
    "records.lock": "lock",
}
# Those that are struck in the second run too, or instead: the first has no such file.
_OF_ANY_RUN = ("marker", "metrics", "journal", "lock", "catalog")


def kind_of(name: str) -> str:
    """Return what kind of file a file of a store is.

    >>> kind_of("runs/run/commits/000000000001"), kind_of("holdfast.json")
    ('commits', 'marker')
    """
    return _TOP.get(name.rpartition("/")[2]) or name.split("/")[2]


def damages(files: dict[str, bytes], source: random.Random, count: int) -> Iterator[Damage]:
    """Yield so many damages to a store; of its second run only to what no checkpoint needs."""
    struck = {
        name: data
        for name, data in files.items()
        if RUN in name.split("/")[1:2] or kind_of(name) in _OF_ANY_RUN
    }
    return by_kind(struck, kind_of, source, count)


def with_all_kinds(store: Path) -> dict[str, bytes]:
    """Give a store a file of each kind, and return the bytes of all."""
    state = {"tree": tree(1)}
    with holdfast.Checkpointer(store, state, run="journaled", rng=False) as ckpt:
        ckpt.save(1, metrics={"loss": 0.5}).wait()
    holdfast.Store(store).tag(f"{RUN}@1", "for-good", fixed=True)
    holdfast.Store(store).note(f"{RUN}@1", "the first of all", {"rated": 5})
    opened = open_store(store, create=False)
    newest = holdfast.Store(store).log(RUN)[-1]
    part = next((store / "runs" / RUN / "parts").glob(f"{newest.id}-*")).name
    # What a save and a removal on another machine have there while they are under way.
    pins.put_pin(opened, RUN, pins.Pin("0" * 32, (f"runs/{RUN}/parts/{part}",)))
    who = json.dumps({"pid": 1, "host": "elsewhere"}).encode()
    opened.put_hint(RunKeys(RUN).removal("1" * 32, "2" * 32), who)
    found = {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    assert {kind_of(name) for name in found} == set(KINDS)
    return found


# --- restoring ---


def restored(store: Path, refs: Mapping[str, int]) -> tuple[Ended, Found]:
    """Restore from a damaged store by some refs, each of a step, and the newest."""
    wrong: list[str] = []
    told: list[str] = []
    for ref, step in refs.items():
        try:
            wrong.append(difference(holdfast.load(store, ref), step))
        except HoldfastError as error:
            told.append(str(error))
    into = tree(0)
    try:
        newest = holdfast.load(store, f"{RUN}@latest", into=into)
    except HoldfastError as error:
        # Nothing was changed in it.
        wrong.append(difference(into, 0))
        ended = Ended(How.REFUSED, str(error))
    else:
        wrong.append(difference(into, newest.step))
        # What is stepped over without a word would be a loss that nobody hears of.
        if newest.step != max(BEFORE) and not newest.stepped_over:
            wrong.append(f"latest is {newest.step}, and nothing is said of {max(BEFORE)}")
        # Stepped over and told: resumed, as after a kill.
        ended = Ended(How.STRUCK) if newest.stepped_over else Ended(How.RETURNED)
        if told and ended.how is How.RETURNED:
            ended = Ended(How.REFUSED, "; ".join(told))
    return ended, Found(differing=tuple(text for text in wrong if text))


def dependents(store: Path) -> dict[str, dict[str, int]]:
    """Return for each file the refs that need it, with their steps."""
    opened = open_store(store, create=False)
    found: dict[str, dict[str, int]] = {
        f"runs/{RUN}/tags/first": {f"{RUN}@first": 1},
        f"runs/{RUN}/names/for-good": {f"{RUN}@for-good": 1},
        # Refs are looked up in it.
        "catalog.sqlite": {f"{RUN}@{step}": step for step in BEFORE} | {f"{RUN}@first": 1},
    }
    for record in commits.good_commits(opened, RUN):
        needed = {f"runs/{RUN}/commits/{record.seq:012d}"}
        for ref in record.parts:
            packs = commits.read_part(opened, record, ref).packs
            needed |= {ref.key, *(pack.key for pack in packs)}
        for name in needed:
            found.setdefault(name, {})[f"{RUN}@{record.step}"] = record.step
    return found


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    with small_state(), one_thread():
        yield from _trials(folder, effort)


def _trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    store = folder / "store"
    for step in sorted(BEFORE):
        save(store, step)
    holdfast.Store(store).tag(f"{RUN}@1", "first")
    files = with_all_kinds(store)
    needed_by = dependents(store)
    for damage in damages(files, random.Random(1), effort.flips):
        damage.apply(store / damage.name, files[damage.name])
        outcome, told = _judged(partial(restored, store, needed_by.get(damage.name, {})))
        (store / damage.name).write_bytes(files[damage.name])
        yield Trial(f"{damage.how}: {kind_of(damage.name)}", "restore", outcome, str(damage), told)


def _judged(look: Callable[[], tuple[Ended, Found]]) -> tuple[Outcome, str]:
    try:
        ended, found = look()
    except Exception as error:
        return Outcome.UNCLEAR, f"{type(error).__name__}: {error}"
    return outcome_of(ended, found), f"{ended.told} {found.text}"[:2000]
