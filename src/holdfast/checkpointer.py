"""``Checkpointer``: checkpoints of a training run, saved by a policy, restored by themselves."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from holdfast import frameworks
from holdfast.chunks.encoder import Compress, check_compress
from holdfast.distributed.hosts import Peers
from holdfast.distributed.ranks import Ranks, ranks_here
from holdfast.effectiveness.adaptive import failures_of
from holdfast.engine.adapter_base import base_of
from holdfast.engine.ancestry import Ancestry
from holdfast.engine.beginning import Beginning
from holdfast.engine.choices import check_choices, check_together
from holdfast.engine.due import Due
from holdfast.engine.followers import Follower, Followers
from holdfast.engine.handle import SaveHandle
from holdfast.engine.last_step import LastStep
from holdfast.engine.leaving import Leaving
from holdfast.engine.ledger import Ledger, OnError, SaveTimes
from holdfast.engine.lifetime import Lifetime
from holdfast.engine.measuring import Measuring
from holdfast.engine.pace import Pace
from holdfast.engine.peers.opening import with_peers
from holdfast.engine.returning import Asked, Returning
from holdfast.engine.saver import Saver
from holdfast.engine.saving import Saving, WhatIsSaved
from holdfast.engine.schedule import Schedule
from holdfast.engine.shield import uninterrupted
from holdfast.engine.signals import SignalWatch
from holdfast.engine.starting_together import let_others_begin, wait_for_rank_0
from holdfast.engine.tiers.beside_home import Beside
from holdfast.engine.tiers.kinds import Tier
from holdfast.engine.watching import Watcher
from holdfast.errors import NotFound, SnapshotTorn, UsageError
from holdfast.format.lineage import Lineage
from holdfast.format.names import check_run, check_tag
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.text import format_keep
from holdfast.policy.watch import WatchPolicy
from holdfast.policy.when import SavePolicy
from holdfast.records.opening import Location
from holdfast.repository import Store
from holdfast.restored import Restored, restored_of
from holdfast.state.casts import Casts
from holdfast.state.config import check_dataset, clean_config
from holdfast.state.numbers import check_step
from holdfast.state.paths import Patterns, check_patterns
from holdfast.state.root import check_root
from holdfast.store.recipe import recipe_of

DEFAULT_NICE = 10
# Before training begins, nobody is held up; a gigabyte takes some tenths of a second.
_START_PATIENCE_S = 1.0


class Checkpointer:
    """Saves and restores the state of one training run.

    Args:
        location: Folder of the store, made if it is not there; a ``Store``, or an ``ObjectStore``
            that has a recipe.
        state: The objects that make up the run, by name: modules, optimizers, anything with
            ``state_dict``/``load_state_dict``, arrays, containers, plain values.
        run: Name of the run.
        save: When ``step`` saves; combine policies with ``|``. None: only ``save`` does.
        keep: Which checkpoints stay; the newest and tagged ones always do. None: all.
        watch: What to warn of, as ``watch.overfitting("loss", "val_loss")``; combine with ``|``.
        rng: Save and restore the random number generators of every library in play.
        on_error: What a failed background save does: ``raise`` at the next call, or ``warn``.
        only: Glob patterns of leaves to save and restore, or ``holdfast.only.weights`` and so on.
        skip: Glob patterns on leaf paths; leaves that match are neither saved nor restored.
        backpressure: When a save is due while ``in_flight`` others are not durable yet: ``wait``
            for one, or ``skip`` this one. ``save`` always waits.
        in_flight: Snapshots that may be under way at a time; each takes memory of the state's size.
        zero_stall: Copy parameters and moments while the next forward and backward pass go on; the
            step of their optimizer waits for it. Nothing else may change them until then.
        check_finite: Count values that are NaN or infinite in the arrays of each checkpoint, or in
            those whose leaf path matches a glob pattern; one that has any is never the best.
        config: What was set: a mapping, dataclass or namespace of plain values, no secrets.
        dataset: A fingerprint of the data, as text.
        nice: Added to the niceness of the process that writes, so that training goes first.
        compress: How arrays are stored, always bit for bit: ``none`` as they are; ``planes`` in
            fewer bytes where that saves 5 % or more; ``auto`` likewise, while saving is no slower
            for it; ``delta`` as differences from an earlier checkpoint where that saves 10 % more.
        ranks: The processes that train together and save one checkpoint together. ``auto``: those
            of torch.distributed or jax.distributed, where it is initialized; every one makes a
            ``Checkpointer`` then. None: this process saves by itself.
        per_rank: Glob patterns on leaf paths; what each rank has for itself there. Random
            generators and positions in the data are known to be so; all else must be equal.
        peers: Each host has a folder of its own, and copies of what others save, as
            ``Peers(copies=1)`` says. None: all ranks save into the one folder that is given.
        on_saved: What to call with the ``CheckpointInfo`` and the ``Store`` of each checkpoint once
            it is durable, in a thread of its own: one, or several. ``close`` waits for it.
        check_replicas: Digest on each rank what others hold, too, and commit nothing where replicas
            differ, by whatever bit. It reads all of them while the loop is held.
        tiers: Where the run is kept besides: ``tier.memory()``, ``tier.far(…)``.
        cast: Floats to save in fewer bits, rounded, by patterns: ``{"optimizer/**": "bfloat16"}``.

    Raises:
        UsageError: An argument is not possible.
        Untrusted: The store's trust policy would not believe its signer.
        StoreUnavailable: The location is a file, or its folder cannot be made. That a store may
            not be written, the first ``restore`` or save tells.
    """

    def __init__(
        self,
        location: Location | Store,
        state: dict[str, Any],
        *,
        run: str,
        save: SavePolicy | None = None,
        keep: KeepPolicy | None = None,
        watch: WatchPolicy | None = None,
        rng: bool = True,
        on_error: OnError = "raise",
        only: Patterns = None,
        skip: Patterns = None,
        backpressure: Literal["wait", "skip"] = "wait",
        in_flight: int = 1,
        zero_stall: bool = False,
        check_finite: bool | str | Sequence[str] = False,
        config: object = None,
        dataset: str | None = None,
        nice: int = DEFAULT_NICE,
        compress: Compress = "none",
        ranks: Ranks | Literal["auto"] | None = "auto",
        per_rank: Patterns = None,
        peers: Peers | None = None,
        on_saved: Follower | Sequence[Follower] = (),
        check_replicas: bool = False,
        tiers: Sequence[Tier] = (),
        cast: Mapping[str, str] | None = None,
    ) -> None:
        check_root(state)
        check_run(run)
        check_patterns(only, skip, per_rank)
        ranks = ranks_here() if ranks == "auto" else ranks
        check_together(save, zero_stall, ranks)
        check_choices(save, keep, watch, on_error, backpressure, in_flight, nice, zero_stall)
        check_compress(compress)
        at = (home := Store(location)).place
        self.run, self.next_step = run, 0
        self._ledger = Ledger(on_error, Followers(on_saved, home, ranks))
        what = WhatIsSaved(state, rng, only, skip, check_finite, Casts(cast))
        config, dataset = clean_config(config), check_dataset(dataset)
        self._trust = at.authenticity.trust
        store, leave = with_peers(at.open_to_save(run), run, peers, ranks, at.authenticity, tiers)
        self._store = store
        base = base_of(store, run, state, only, self._trust, ranks)
        ancestry = Ancestry(store, run, Lineage(None, None, config, dataset, base))
        beside = Beside(run, tiers, store, at.authenticity, in_flight, ranks)
        self._schedule = Schedule(save, store, run, self._ledger.not_finite, ranks, beside.policies)
        self._watcher = Watcher(watch, self._store, run)
        if self._schedule.is_adaptive:
            self._schedule.failures = failures_of(self._store, run)
        self._last_step = LastStep(state, self._schedule, rng=rng)
        self._lifetime = Lifetime()
        self._signals = SignalWatch(self._schedule.signals)
        beginning = Beginning(self._store, run)
        self._leaving = Leaving(
            run, self._lifetime, self._signals, self._last_step, self._ledger, self._schedule, leave
        )
        # Two threads that save at the same time take turns.
        self._turn = threading.RLock()
        try:
            with uninterrupted():
                self._signals.begin()
                wait_for_rank_0(ranks, self._store, run)
                self._leaving.saver = self._saver = saver = Saver(
                    recipe_of(self._store),
                    run,
                    keep=format_keep(keep) if keep is not None else [],
                    in_flight=in_flight,
                    nice=nice,
                    zero_stall=zero_stall,
                    authenticity=at.authenticity,
                    compress=compress,
                    ranks=ranks,
                    per_rank=per_rank,
                    check_replicas=check_replicas,
                    tiers=beside.message(),
                )
                let_others_begin(ranks, self._store, run, saver.client.wait_ready)
                self._leaving.feed = self._feed = saver.metrics_feed()
            heartbeat = saver.client.heartbeat
            self._pace = Pace(heartbeat, lambda: saver.is_busy)
            self._saving = Saving(
                what,
                may_skip=backpressure == "skip",
                turn=self._turn,
                saver=saver,
                ledger=self._ledger,
                schedule=self._schedule,
                beginning=beginning,
                feed=self._feed,
                ancestry=ancestry,
            )
            self._returning = Returning(
                run,
                what,
                saver=saver,
                lifetime=self._lifetime,
                beginning=beginning,
                pace=self._pace,
                ancestry=ancestry,
                ledger=self._ledger,
                schedule=self._schedule,
                last_step=self._last_step,
                watcher=self._watcher,
                feed=self._feed,
                beside=beside,
            )
            self._schedule.measure = Measuring(self._ledger, heartbeat.tally).costs
            self._saving.prepare(_START_PATIENCE_S)
            self._pace.begin()
        except BaseException:
            self._leaving.give_back()
            raise

    @property
    def stats(self) -> list[SaveTimes]:
        """What each save that has become durable so far cost, oldest first."""
        return self._ledger.times()

    # --- restoring ---

    def restore(
        self,
        ref: str | int | None = None,
        *,
        store: Location | Store | None = None,
        strict: bool = True,
        only: Patterns = None,
        skip: Patterns = None,
    ) -> Restored | None:
        """Put the newest good checkpoint of the run, or the one that ref names, into the state.

        Damaged checkpoints are stepped over, with a warning that names them; with a ``ref`` nothing
        is. ``next_step`` becomes the step after. A run begun at another's checkpoint is its fork.

        Args:
            ref: A ref of any run; or ``latest``, ``best:METRIC``, a tag or a step of this run.
            store: The store that ref is looked up in, where it is not this run's own.
            strict: A leaf that only one side has is an error; else it is told in the result.
            only: Glob patterns on leaf paths; only leaves that match are restored.
            skip: Glob patterns on leaf paths; leaves that match are not restored.

        Returns:
            What was restored, or None where the run has no checkpoint yet.

        Raises:
            NoGoodCheckpoint: There are checkpoints, but all of them are damaged or not trusted.
            RolledBack: The run is not what the trust policy's head says.
            Mismatch: The checkpoint does not fit; nothing was changed.
            RestoreIncomplete: An object of the state refused its part after others had theirs;
                nothing is saved until another restore.
            RunBusy: Another live process is writing the run.
        """
        with self._turn:
            return self._restore("restored", ref, store, strict, only, skip)

    def rollback(self, ref: str | int, *, only: Patterns = None, skip: Patterns = None) -> Restored:
        """Go back to a checkpoint in the middle of training; go on from it, at ``next_step``.

        It is ``restore`` with a ref. The checkpoints in between stay; what is saved now has the one
        gone back to as its parent. ``skip=["optimizer/**", "@rng"]`` goes back with the rest alone.

        Raises:
            UsageError: It names none.
            NotFound: There is no such checkpoint.
            DataError, Mismatch: It is damaged or does not fit; nothing was changed.
        """
        if ref is None:
            raise UsageError("rollback() goes back to a checkpoint that is named, 'latest' say.")
        with self._turn:
            restored = self._restore("rolled-back", ref, None, True, only, skip)
        if restored is None:
            raise NotFound(f"Run {self.run!r} has no checkpoint to go back to.", run=self.run)
        return restored

    def _restore(
        self,
        event: str,
        ref: str | int | None,
        store: Location | Store | None,
        strict: bool,
        only: Patterns,
        skip: Patterns,
    ) -> Restored | None:
        at = Store(store).place if store is not None else None
        source = at.open() if at is not None else None
        trust = (at.authenticity.trust if at is not None else None) or self._trust
        asked = Asked(event, ref, source, trust, strict, only, skip)
        outcome = self._returning.restore(asked)
        if outcome is None:
            return None
        self.next_step = outcome.record.step + 1
        return restored_of(outcome, trust)

    # --- saving ---

    def step(
        self, step: int, metrics: Mapping[str, Any] | None = None, epoch: float | None = None
    ) -> SaveHandle | None:
        """Tell that a step is done; saves if the policy says so, and returns at once.

        Args:
            step: Index of the step that has just been finished.
            metrics: Numbers of this step: all are kept, ``on.best`` looks at them, and a checkpoint
                has them. What an accelerator has still to compute is read some steps later.
            epoch: Epochs finished so far, for ``every(epochs=…)``.

        Returns:
            The handle of the save, or None if none was due.

        Raises:
            SystemExit: A signal asked to save and leave; the checkpoint is durable.
            SaveFailed, NoSpace, StoreUnavailable: An earlier save in the background failed, and
                ``on_error`` is ``raise``.
            SnapshotTorn: Another thread changed the state while it was copied; likewise.
        """
        self._lifetime.require_whole()
        step = check_step(step)
        self._ledger.tell_errors()
        with self._pace.step_ended(step) as now_s:
            return self._after_step(step, metrics, epoch, now_s)

    def _after_step(
        self, step: int, metrics: Mapping[str, Any] | None, epoch: float | None, now_s: float
    ) -> SaveHandle | None:
        came = self._signals.take()
        metrics = self._feed.log(step, metrics)
        due = self._schedule.due(step, metrics, epoch, now_s, came)
        frameworks.activate()
        self._last_step.note(step)
        self._saving.step_ended()
        handle = None
        if due.reason:
            try:
                must = bool(due.signals)
                handle = self._saving.save(step, metrics, due, must=must, started_s=now_s)
            except SnapshotTorn as error:
                self._ledger.tell(error, step)
        self._watcher.look(step, metrics)
        self._leaving.leave_if_asked(due.signals, handle)
        return handle

    def save(
        self, step: int, tag: str | None = None, metrics: Mapping[str, Any] | None = None
    ) -> SaveHandle:
        """Save now, whatever the policy says; returns once the state is frozen.

        Args:
            step: Name of the checkpoint.
            tag: A name to give it; tagged checkpoints stay until they are removed by hand.
            metrics: Numbers that go with it, besides those that ``step`` got for the same step.

        Returns:
            A handle; ``.wait()`` returns once the checkpoint is durable.

        Raises:
            SnapshotTorn: Another thread changed the state while it was copied.
        """
        self._lifetime.require_whole()
        step = check_step(step)
        if tag is not None:
            check_tag(tag)
        self._ledger.tell_errors()
        metrics = self._feed.log(step, metrics)
        with self._pace.held():
            handle = self._saving.save(step, metrics, Due("save()"), tag=tag)
        assert handle is not None
        return handle

    def wait(self) -> None:
        """Wait until no save is under way; raises what went wrong, as ``step`` would."""
        if not self._lifetime.is_over:
            self._lifetime.require_open()
            with self._pace.held():
                self._saver.wait()
        self._ledger.tell_errors()

    def close(self) -> None:
        """Wait for the saves under way and end; raises what went wrong, as ``step`` would."""
        self._leaving.close()

    def __del__(self) -> None:
        if hasattr(self, "_leaving"):
            self._leaving.let_go()

    def __enter__(self) -> Checkpointer:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._leaving.leave_block(error, self._saving.save_at)
