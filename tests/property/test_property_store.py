"""A store against a model of it: whatever saves, names, removals, copies, crashes, damage, repairs
and other writers come in whatever order, every checkpoint that is listed loads exactly, none is
listed that was not saved, and nothing else is kept.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from damaging import Harm, do_harm, harmable, harms
from elsewhere import Elsewhere
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from saving import opened, save
from state_checks import assert_same
from store_machine import StoreMachine
from store_values import (
    RUNS,
    Content,
    Saved,
    contents,
    losses,
    moments,
    numbers,
    picks,
    policies,
    runs,
    steps,
    tag_names,
    tags,
    tree_of,
)

import holdfast
from holdfast.errors import EnvironmentTrouble, HoldfastError, NotFound, RunBusy
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.testing import killing
from holdfast.testing.effects import Moment
from holdfast.testing.killing import KillPoint

IS_FULL = os.environ.get("HOLDFAST_FAULTS") == "full"
alone = precondition(lambda self: self.writer is None)


class UnrulyMachine(StoreMachine):
    """Processes that are killed, disks that damage, machines that know nothing of each other."""

    # --- crashes: SIGKILL of a real process at any of its effects ---

    def killed(self, work: Callable[[], object], number: int, when: Moment) -> None:
        ended = killing.run_killed(work, self.folder, KillPoint(number, "", when))
        assert ended.status in (0, -9), ended.output

    @alone
    @rule(
        run=runs,
        step=steps,
        content=contents,
        loss=losses,
        tag=tags,
        number=numbers,
        when=moments,
    )
    def crash_in_a_save(
        self,
        run: str,
        step: int,
        content: Content,
        loss: float,
        tag: str | None,
        number: int,
        when: Moment,
    ) -> None:
        def work() -> None:
            metrics = {"loss": loss}
            tree = tree_of(content)
            holdfast.save(self.store, tree, run=run, step=step, metrics=metrics, tag=tag, rng=False)

        self.killed(work, number, when)
        for info in self.new_ones(self.store, run, self.model):
            assert info.step == step
            has_tag = tag is not None and tag in info.tags
            self.note(run, info.id, step, content, loss, tag if has_tag else None)
        self.debris.add(run)

    @alone
    @rule(run=runs, number=picks, at=numbers, when=moments)
    def crash_in_a_copy(self, run: str, number: int, at: int, when: Moment) -> None:
        if not self.model[run]:
            return
        saved = self.pick(run, number)
        self.killed(lambda: self.store.copy(f"{run}@{saved.step}", self.other), at, when)
        for info in self.new_ones(self.other, run, self.copies):
            self.copies[run].append(dataclasses.replace(saved, id=info.id))

    def new_ones(
        self, store: holdfast.Store, run: str, model: dict[str, list[Saved]]
    ) -> list[holdfast.CheckpointInfo]:
        """What a process that was killed has left: its checkpoint, or nothing."""
        known = {saved.id for saved in model[run]}
        try:
            found = [info for info in store.log(run) if info.id not in known]
        except NotFound:
            found = []
        assert len(found) <= 1
        return found

    @alone
    @rule(run=runs, policy=policies, at=numbers, when=moments)
    def crash_in_a_prune(self, run: str, policy: KeepPolicy, at: int, when: Moment) -> None:
        if not self.model[run]:
            return
        planned = {info.id for info, _ in self.store.prune(run, policy, dry_run=True).removed}
        self.killed(lambda: self.store.prune(run, policy), at, when)
        gone = self.gone(run)
        assert gone <= planned
        self.forget(run, gone)
        self.debris.add(run)

    @alone
    @rule(run=runs, number=picks, at=numbers, when=moments)
    def crash_in_a_removal(self, run: str, number: int, at: int, when: Moment) -> None:
        if not self.model[run]:
            return
        saved = self.pick(run, number)
        self.killed(lambda: self.store.remove(f"{run}@{saved.step}"), at, when)
        gone = self.gone(run)
        assert gone <= {saved.id}
        self.forget(run, gone)
        # Its tags go before it does.
        there = (
            {tag for info in self.store.log(run) for tag in info.tags} if self.model[run] else set()
        )
        lost = set(self.tags[run]) - there
        assert all(self.tags[run].pop(name) == saved.id for name in lost)
        self.debris.add(run)

    def gone(self, run: str) -> set[str]:
        """The checkpoints of the model that are not listed any more."""
        return {saved.id for saved in self.model[run]} - {info.id for info in self.store.log(run)}

    @alone
    @rule(run=runs, number=picks, name=tag_names, at=numbers, when=moments)
    def crash_in_a_tag(self, run: str, number: int, name: str, at: int, when: Moment) -> None:
        if not self.model[run]:
            return
        saved = self.pick(run, number)
        self.killed(lambda: self.store.tag(f"{run}@{saved.step}", name), at, when)
        with suppress(NotFound):
            named = self.store.info(f"{run}@{name}").id
            assert named in (saved.id, self.tags[run].get(name))
            self.tags[run][name] = named

    @rule(run=runs)
    def resume(self, run: str) -> None:
        """The newest checkpoint comes back, into what stands."""
        if not self.model[run]:
            with pytest.raises(NotFound):
                holdfast.load(self.store, f"{run}@latest")
            return
        newest = self.model[run][-1]
        into = {
            name: np.zeros_like(value) if isinstance(value, np.ndarray) else value
            for name, value in tree_of(newest.content).items()
        }
        restored = holdfast.load(self.store, f"{run}@latest", into=into)
        assert restored.info.id == newest.id
        assert_same(into, tree_of(newest.content))

    # --- damage and repair ---

    @alone
    @precondition(lambda self: self.any_run())
    @rule(
        number=picks,
        harm=harms,
        where=st.floats(0, 1),
        at=numbers,
        when=moments,
    )
    def damage_and_repair(
        self, number: int, harm: Harm, where: float, at: int, when: Moment
    ) -> None:
        """Damage is told, repaired by a process that is killed, then by one that is not."""
        store, backup = self.folder / "store", self.folder / "backup"
        files = harmable(store, harm)
        if not files:
            return
        shutil.copytree(store, backup)
        do_harm(files[number % len(files)], harm, where)
        self.check_that_damage_is_told()
        self.killed(lambda: self.store.repair([backup]), at, when)
        report = self.store.repair([backup])
        assert report.ok, report
        self.check_everything()
        shutil.rmtree(backup)

    def check_that_damage_is_told(self) -> None:
        is_whole = True
        for run in RUNS:
            for saved in {saved.step: saved for saved in self.model[run]}.values():
                try:
                    found = holdfast.load(self.store, f"{run}@{saved.step}", verify="full")
                except HoldfastError:
                    is_whole = False
                    continue
                candidates = [s for s in self.model[run] if s.step == saved.step]
                assert any(is_same(found, tree_of(s.content)) for s in candidates)
        assert is_whole or not self.store.verify().ok

    # --- others at work at the same time ---

    @alone
    @rule(
        run=runs,
        step=steps,
        content=contents,
        loss=losses,
        at=st.integers(0, 12),
        what=st.sampled_from(["remove", "prune", "tag", "copy", "verify"]),
        number=picks,
        policy=policies,
        name=tag_names,
    )
    def others_act_at_an_effect_of_a_save(
        self,
        run: str,
        step: int,
        content: Content,
        loss: float,
        at: int,
        what: str,
        number: int,
        policy: KeepPolicy,
        name: str,
    ) -> None:
        actions: dict[str, Callable[[], object]] = {
            "remove": lambda: self.remove(run, number),
            "tag": lambda: self.tag(run, number, name),
            "copy": lambda: self.copy(run, number),
            "verify": lambda: self.store.verify().ok,
        }

        def meanwhile() -> None:
            if what == "prune":
                self.prune_beside_a_save(run, policy)
            elif self.model[run] and self.pick(run, number).step != step:
                # Of the same step it would be the new one, once that is committed.
                assert actions[what]() in (None, True)

        store = Elsewhere(self.store.place.open(create=True), at, meanwhile, locks=True)
        writer = opened(store, run)
        try:
            saved = save(writer, tree_of(content), step, metrics={"loss": loss})
        finally:
            writer.close()
        self.note(run, saved.record.id, step, content, loss, None)
        self.debris.add(run)

    def prune_beside_a_save(self, run: str, policy: KeepPolicy) -> None:
        """Once its commit is there, the checkpoint of the save is the newest, and stays."""
        if self.model[run]:
            report = self.store.prune(run, policy)
            self.forget(run, {info.id for info, _ in report.removed})

    @alone
    @rule(
        run=runs,
        step=steps,
        first=contents,
        second=contents,
        at=st.integers(0, 12),
        saves=st.booleans(),
    )
    def another_machine_takes_a_run_over(
        self, run: str, step: int, first: Content, second: Content, at: int, saves: bool
    ) -> None:
        """Locks do not reach it. Who is told to have saved has saved, who is not has not."""

        def meanwhile() -> None:
            writer = opened(Elsewhere(self.local(), -1, lambda: None, locks=False), run)
            with suppress(RunBusy):
                if saves:
                    done = save(writer, tree_of(second), step, metrics={"loss": 0.0})
                    self.note(run, done.record.id, step, second, 0.0, None)

        store = Elsewhere(self.store.place.open(create=True), at, meanwhile, locks=False)
        before = len(self.model[run])
        with suppress(EnvironmentTrouble):
            done = save(opened(store, run), tree_of(first), step, metrics={"loss": 1.0})
            # It may have had the lower number.
            self.model[run].insert(before, Saved(done.record.id, step, first, 1.0))
            if len(self.model[run]) > before + 1:
                seqs = {info.id: info.seq for info in self.store.log(run)}
                self.model[run].sort(key=lambda saved: seqs[saved.id])
        self.debris.add(run)


def is_same(found: object, expected: object) -> bool:
    try:
        assert_same(found, expected)
    except AssertionError:
        return False
    return True


TestStore = UnrulyMachine.TestCase
TestStore.settings = settings(
    max_examples=400 if IS_FULL else 30, stateful_step_count=30, deadline=None
)
