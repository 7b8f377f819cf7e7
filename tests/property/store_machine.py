"""A store and a model of it: saves, names, removals and copies, by those who keep to the rules."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from saving import opened, save
from state_checks import assert_same
from store_values import (
    RUNS,
    Content,
    Saved,
    contents,
    losses,
    picks,
    policies,
    runs,
    steps,
    tag_names,
    tags,
    tree_of,
    ways,
)

import holdfast
from holdfast.chunks.encoder import Compress
from holdfast.engine.run_writer import RunWriter
from holdfast.errors import NotFound, RunBusy
from holdfast.format.lineage import Lineage, Origin
from holdfast.history.retention import PruneReport
from holdfast.history.stock import Stock
from holdfast.history.sweep import find_garbage
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.retention import budget_of
from holdfast.records import commits
from holdfast.records.marker import store_id
from holdfast.store.local import LocalStore


def fates(report: PruneReport) -> list[tuple[str, str]]:
    kept = [(info.id, ", ".join(why)) for info, why in report.kept]
    return kept + [(info.id, why) for info, why in report.removed]


class StoreMachine(RuleBasedStateMachine):
    """Saves by processes that come and go, and by one that stays; removals at any time."""

    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir=base))
        self.store = holdfast.Store(self.folder / "store")
        self.other = holdfast.Store(self.folder / "other")
        self.model: dict[str, list[Saved]] = {run: [] for run in RUNS}
        self.tags: dict[str, dict[str, str]] = {run: {} for run in RUNS}
        self.copies: dict[str, list[Saved]] = {run: [] for run in RUNS}
        self.writer: RunWriter | None = None
        self.debris: set[str] = set()

    def teardown(self) -> None:
        try:
            if self.any_run():
                self.check_everything()
                assert self.store.verify().ok
        finally:
            if self.writer is not None:
                self.writer.close()
            shutil.rmtree(self.folder)

    def any_run(self) -> bool:
        return Path(self.store.path, "holdfast.json").exists()

    def local(self) -> LocalStore:
        return LocalStore(self.store.path)

    # --- saving ---

    @rule(run=runs, step=steps, content=contents, loss=losses, tag=tags, way=ways)
    def save(
        self, run: str, step: int, content: Content, loss: float, tag: str | None, way: Compress
    ) -> None:
        """By the process that stays, where it holds the run, else by one that comes and goes."""
        if self.writer is not None and self.writer.run == run:
            self.save_by_writer(step, content, loss, lambda: None, tag)
            return
        info = holdfast.save(
            self.store,
            tree_of(content),
            run=run,
            step=step,
            metrics={"loss": loss},
            tag=tag,
            rng=False,
            compress=way,
        )
        self.debris.discard(run)
        self.note(run, info.id, step, content, loss, tag)

    def save_by_writer(
        self,
        step: int,
        content: Content,
        loss: float,
        meanwhile: Callable[[], None],
        tag: str | None = None,
    ) -> None:
        assert self.writer is not None
        run = self.writer.run
        saved = save(
            self.writer,
            tree_of(content),
            step,
            metrics={"loss": loss},
            tag=tag,
            meanwhile=meanwhile,
        )
        self.note(run, saved.record.id, step, content, loss, tag)

    @rule(run=runs, other=runs, number=picks, step=steps, content=contents, loss=losses)
    def fork(
        self, run: str, other: str, number: int, step: int, content: Content, loss: float
    ) -> None:
        """A checkpoint that says which one of another run its own began at."""
        if not self.model[other] or other == run:
            return
        origin = self.pick(other, number)
        store = self.store.place.open(create=True)
        lineage = Lineage(forked_from=Origin(store_id(store), other, origin.step, origin.id))
        held = self.writer is not None and self.writer.run == run
        writer = self.writer if held else opened(store, run)
        assert writer is not None
        try:
            saved = save(writer, tree_of(content), step, metrics={"loss": loss}, lineage=lineage)
        finally:
            if not held:
                writer.close()
                self.debris.discard(run)
        self.note(run, saved.record.id, step, content, loss, None)
        self.model[run][-1].origin = origin.id

    def note(
        self, run: str, id_: str, step: int, content: Content, loss: float, tag: str | None
    ) -> None:
        self.model[run].append(Saved(id_, step, content, loss))
        if tag is not None:
            self.tags[run][tag] = id_

    @precondition(lambda self: self.writer is None)
    @rule(run=runs)
    def open_writer(self, run: str) -> None:
        self.writer = opened(self.store.place.open(create=True), run)
        self.debris.discard(run)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def close_writer(self) -> None:
        assert self.writer is not None
        self.writer.close()
        self.writer = None

    @precondition(lambda self: self.writer is not None)
    @rule(content=contents)
    def a_second_writer_is_refused(self, content: Content) -> None:
        assert self.writer is not None
        with pytest.raises(RunBusy):
            holdfast.save(self.store, tree_of(content), run=self.writer.run, step=1)

    @precondition(lambda self: self.writer is not None and self.model[self.writer.run])
    @rule(step=steps, content=contents, loss=losses, picked=st.lists(picks, max_size=5))
    def remove_in_the_middle_of_a_save(
        self, step: int, content: Content, loss: float, picked: list[int]
    ) -> None:
        """Remove checkpoints, the one that the save builds on among them, while it is under way."""
        assert self.writer is not None
        run = self.writer.run

        def meanwhile() -> None:
            for pick in [-1, *picked]:
                if self.model[run]:
                    self.remove_one(run, pick)

        self.save_by_writer(step, content, loss, meanwhile)
        assert_same(holdfast.load(self.store, f"{run}@latest"), tree_of(content))
        # What the save was building on was spared; the next that opens the run sweeps it.
        self.debris.add(run)

    # --- naming and removing ---

    def pick(self, run: str, number: int) -> Saved:
        """One of the checkpoints that a step names: the newest save of it."""
        step = self.model[run][number % len(self.model[run])].step
        return [s for s in self.model[run] if s.step == step][-1]

    @rule(run=runs, number=picks, name=tag_names)
    def tag(self, run: str, number: int, name: str) -> None:
        if self.model[run]:
            saved = self.pick(run, number)
            self.store.tag(f"{run}@{saved.step}", name)
            self.tags[run][name] = saved.id

    @rule(run=runs, name=tag_names)
    def untag(self, run: str, name: str) -> None:
        if name in self.tags[run]:
            self.store.untag(run, name)
            del self.tags[run][name]
        else:
            with pytest.raises(NotFound):
                self.store.untag(run, name)

    @rule(run=runs, number=picks)
    def remove(self, run: str, number: int) -> None:
        if self.model[run]:
            self.remove_one(run, number)

    def remove_one(self, run: str, number: int) -> None:
        saved = self.pick(run, number)
        self.store.remove(f"{run}@{saved.step}")
        self.forget(run, {saved.id})

    def forget(self, run: str, ids: set[str]) -> None:
        self.model[run] = [s for s in self.model[run] if s.id not in ids]
        self.tags[run] = {name: i for name, i in self.tags[run].items() if i not in ids}

    @rule(run=runs, policy=policies)
    def prune(self, run: str, policy: KeepPolicy) -> None:
        if not self.model[run]:
            return
        planned = self.store.prune(run, policy, dry_run=True)
        report = self.store.prune(run, policy)
        # By id: a loss that is NaN is not equal to itself.
        assert fates(planned) == fates(report)
        gone = {info.id for info, _ in report.removed}
        self.check_the_budget(run, policy, report)
        assert self.model[run][-1].id not in gone
        assert not gone & set(self.tags[run].values())
        assert {i.id for i, _ in report.kept} | gone == {s.id for s in self.model[run]}
        self.forget(run, gone)

    def check_the_budget(self, run: str, policy: KeepPolicy, report: PruneReport) -> None:
        """What stays takes no more than there is for it, or is what must stay."""
        nbytes = budget_of(policy)
        if nbytes is None:
            return
        stock, needed = Stock(self.local(), run), dict[str, int]()
        for record in commits.good_commits(self.local(), run):
            needed.update(stock.needs(record) or {})
        assert sum(needed.values()) <= nbytes + report.over_budget_bytes

    # --- copying ---

    @rule(run=runs, number=picks)
    def copy(self, run: str, number: int) -> None:
        if self.model[run]:
            saved = self.pick(run, number)
            info = self.store.copy(f"{run}@{saved.step}", self.other)
            self.copies[run].append(dataclasses.replace(saved, id=info.id))

    @rule(run=runs)
    def empty_the_other_store(self, run: str) -> None:
        if self.copies[run]:
            self.other.remove(f"{run}@{self.copies[run][-1].step}")
            self.copies[run].pop()

    # --- what must hold ---

    @rule()
    def check_everything(self) -> None:
        """Every checkpoint loads exactly, by step and by tag, in both stores."""
        for store, model in ((self.store, self.model), (self.other, self.copies)):
            for run in RUNS:
                newest = {saved.step: saved for saved in model[run]}
                for step, saved in newest.items():
                    found = holdfast.load(store, f"{run}@{step}", verify="full")
                    assert_same(found, tree_of(saved.content))
        for run in RUNS:
            for name, id_ in self.tags[run].items():
                [saved] = [s for s in self.model[run] if s.id == id_]
                assert_same(holdfast.load(self.store, f"{run}@{name}"), tree_of(saved.content))

    @invariant()
    def the_log_is_the_model(self) -> None:
        for store, model in ((self.store, self.model), (self.other, self.copies)):
            for run in RUNS:
                try:
                    listed = store.log(run)
                except NotFound:
                    listed = []
                assert [(i.id, i.step, i.forked_from and i.forked_from.id) for i in listed] == [
                    (s.id, s.step, s.origin) for s in model[run]
                ]

    @invariant()
    def refs_name_what_they_should(self) -> None:
        for run in RUNS:
            if not self.model[run]:
                continue
            assert self.store.info(f"{run}@latest").id == self.model[run][-1].id
            finite = [s for s in self.model[run] if math.isfinite(s.loss)]
            if finite:
                lowest = min(finite, key=lambda s: s.loss)
                highest = max(finite, key=lambda s: s.loss)
                assert self.store.info(f"{run}@best:loss").id == lowest.id
                assert self.store.info(f"{run}@best:loss:max").id == highest.id
            else:
                with pytest.raises(NotFound):
                    self.store.info(f"{run}@best:loss")

    @invariant()
    def nothing_is_kept_that_nobody_needs(self) -> None:
        if not self.any_run():
            return
        for run in set(RUNS) - self.debris:
            assert find_garbage(self.local(), run) == []
