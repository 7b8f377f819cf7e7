"""``CheckpointManager`` with the names that users of Orbax know."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

from holdfast.checkpointer import Checkpointer
from holdfast.engine.handle import SaveHandle
from holdfast.errors import NotFound, UsageError
from holdfast.history.info import CheckpointInfo
from holdfast.oneshot import load
from holdfast.policy import KeepPolicy, keep
from holdfast.repository import Store
from holdfast.state.numbers import check_step

_ITEM = "item"


class CheckpointManager:
    """Saves and restores pytrees by step, in the manner of ``orbax.checkpoint.CheckpointManager``.

    ``save`` returns once the arrays are copied; another process writes them. They may be donated
    to the next step at once.

    Args:
        directory: Folder of the store, the URL of a bucket, or a ``Store``.
        run: Name of the run.
        max_to_keep: How many of the newest checkpoints stay; None: all.
        keep_period: One of so many steps stays besides.
        best_metric: A metric; the best checkpoint by it stays, too, and ``best_step`` tells it.
        best_mode: ``min`` or ``max``: which value of it is best.
        save_interval_steps: ``save`` does nothing at steps that are no multiple of it.
        options: More arguments of the ``Checkpointer``.

    Attributes:
        last_save: Handle of the last save: ``.wait()`` returns once it is durable.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | Store,
        *,
        run: str = "checkpoints",
        max_to_keep: int | None = None,
        keep_period: int | None = None,
        best_metric: str | None = None,
        best_mode: Literal["min", "max"] = "min",
        save_interval_steps: int = 1,
        **options: Any,
    ) -> None:
        if save_interval_steps < 1:
            raise UsageError(f"save_interval_steps={save_interval_steps} is less than 1.")
        self._store = Store(directory)
        self._run = run
        self._interval = save_interval_steps
        self._best = (best_metric, best_mode) if best_metric is not None else None
        self._options = {"keep": _policy(max_to_keep, keep_period, self._best), **options}
        self._state: dict[str, Any] = {}
        self._checkpointer: Checkpointer | None = None
        self.last_save: SaveHandle | None = None

    # --- saving ---

    def should_save(self, step: int) -> bool:
        """Say whether ``save`` would save at that step."""
        latest = self.latest_step()
        return step % self._interval == 0 and (latest is None or step > latest)

    def save(
        self,
        step: int,
        item: Any = None,
        *,
        args: Any = None,
        metrics: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> bool:
        """Save a pytree; returns once it is copied.

        Args:
            step: Names the checkpoint.
            item: The pytree.
            args: Instead of item: what Orbax takes, such as ``StandardSave(item)``.
            metrics: Numbers that go with it.
            force: Save though it is not time.

        Returns:
            Whether it was time.
        """
        step = check_step(step)
        found = _item(item, args)
        if found is None:
            raise UsageError(f"There is nothing to save at step {step}: give item or args=.")
        if not force and step % self._interval:
            return False
        self._state[_ITEM] = found
        self.last_save = self._opened().save(step, metrics=metrics)
        return True

    def _opened(self) -> Checkpointer:
        if self._checkpointer is None:
            how = {"run": self._run, **self._options}
            self._checkpointer = Checkpointer(self._store, self._state, **how)
        return self._checkpointer

    def wait_until_finished(self) -> None:
        """Wait until every save is durable; raises what went wrong."""
        if self._checkpointer is not None:
            self._checkpointer.wait()

    # --- restoring ---

    def restore(
        self, step: int | None = None, item: Any = None, *, args: Any = None, strict: bool = True
    ) -> Any:
        """Return a saved pytree; with ``item``, the run goes on from there.

        Args:
            step: Which one; None: the newest that is good.
            item: A pytree of arrays, or of ``jax.ShapeDtypeStruct`` as ``jax.eval_shape`` gives
                them: what is returned has its structure and shardings. None: as it was saved.
            args: Instead of item: what Orbax takes, such as ``StandardRestore(item)``.
            strict: A leaf that only one side has is an error.

        Raises:
            NotFound: There is no such checkpoint.
            Mismatch: It does not fit.
        """
        self.wait_until_finished()
        ref = f"{self._run}@{'latest' if step is None else step}"
        like = _item(item, args)
        if like is None:
            return load(self._store, ref, rng=True)[_ITEM]
        self._state[_ITEM] = _unshared(like)
        if self._opened().restore(ref, strict=strict) is None:
            raise NotFound(f"Run {self._run!r} has no checkpoint.", run=self._run)
        return self._state[_ITEM]

    # --- what there is ---

    def all_steps(self) -> list[int]:
        """Return the steps of all checkpoints, rising."""
        return sorted({info.step for info in self._log()})

    def latest_step(self) -> int | None:
        """Return the step of the newest checkpoint, or None."""
        log = self._log()
        return log[-1].step if log else None

    def best_step(self) -> int | None:
        """Return the step of the best checkpoint by ``best_metric``, or None."""
        if self._best is None:
            return self.latest_step()
        name, mode = self._best
        known = [info for info in self._log() if name in info.metrics]
        if not known:
            return None
        sign = 1 if mode == "min" else -1
        return min(known, key=lambda info: sign * info.metrics[name]).step

    def metrics(self, step: int) -> Mapping[str, float]:
        """Return the metrics of a checkpoint."""
        return self._store.info(f"{self._run}@{step}").metrics

    def _log(self) -> list[CheckpointInfo]:
        self.wait_until_finished()
        try:
            return self._store.log(self._run)
        except NotFound:
            return []

    # --- the end ---

    def close(self) -> None:
        """Wait for the saves under way, and end."""
        if self._checkpointer is not None:
            self._checkpointer.close()

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._checkpointer is not None:
            self._checkpointer.__exit__(kind, error, traceback)


def _policy(
    last: int | None, period: int | None, best: tuple[str, Literal["min", "max"]] | None
) -> KeepPolicy | None:
    if last is None:
        return None
    policy: KeepPolicy = keep.last(last)
    if period is not None:
        policy = policy | keep.every(steps=period)
    return policy | keep.best(best[0], mode=best[1]) if best is not None else policy


def _item(item: Any, args: Any) -> Any:
    if item is not None and args is not None:
        raise UsageError("Give item or args=, not both.")
    return getattr(args, "item", args) if args is not None else item


def _unshared(tree: Any) -> Any:
    """Return a tree whose dicts and lists are its own, so that the caller's stay what they are."""
    if type(tree) is dict:
        return {key: _unshared(value) for key, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(_unshared(value) for value in tree)
    return tree
