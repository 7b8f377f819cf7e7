"""``CheckpointManager`` with the names that users of Orbax know."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from holdfast.errors import NotFound, UsageError
from holdfast.history.meaning import best_name
from holdfast.integrations.orbax_words import BEST_FN, is_composite, item_of, read_options
from holdfast.integrations.run_manager import RunManager
from holdfast.oneshot import load
from holdfast.policy.checks import checked_mode
from holdfast.policy.keep import keep
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.repository import Store
from holdfast.state.numbers import check_step

_ITEM = "item"


class CheckpointManager(RunManager):
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
        options: Instead of these five: Orbax's ``CheckpointManagerOptions``. What they say of
            files has no meaning here; of retention the newest checkpoint always stays besides.
        item_names: Taken for the sake of Orbax's scripts, and not needed.
        more: More arguments of the ``Checkpointer``.

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
        options: Any = None,
        item_names: Any = None,
        **more: Any,
    ) -> None:
        ours = (max_to_keep, keep_period, best_metric, save_interval_steps)
        if options is not None and ours != (None, None, None, 1):
            raise UsageError("Give options=, or the arguments that say the same, not both.")
        self._orbax = None if options is None else read_options(options)
        if self._orbax is not None:
            save_interval_steps, best_mode = self._orbax.interval, self._orbax.best_mode
            best_metric = BEST_FN if self._orbax.best_fn is not None else None
        if save_interval_steps < 1:
            raise UsageError(f"save_interval_steps={save_interval_steps} is less than 1.")
        mode = checked_mode(best_mode)
        self._interval = save_interval_steps
        self._best = (best_metric, mode) if best_metric is not None else None
        policy = (
            _policy(max_to_keep, keep_period, self._best)
            if self._orbax is None
            else self._orbax.keep
        )
        super().__init__(directory, run, {}, {"keep": policy, **more})

    # --- saving ---

    def should_save(self, step: int) -> bool:
        """Say whether it is time: a multiple of the interval, above the newest checkpoint's."""
        if not self._is_time(step):
            return False
        latest = self.latest_step()
        return latest is None or step > latest

    def _is_time(self, step: int) -> bool:
        said = self._orbax
        if said is None:
            return step % self._interval == 0
        if said.read_only:
            return False
        if said.decides is not None:
            return bool(said.decides(step, self.latest_step()))
        return step % said.interval == 0 or step in said.steps

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
            args: Instead of item: what Orbax takes, such as ``StandardSave(item)``, or a
                ``Composite`` of several.
            metrics: Numbers that go with it.
            force: Save though it is not time.

        Returns:
            Whether it was time.
        """
        step = check_step(step)
        found = _item(item, args)
        if found is None:
            raise UsageError(f"There is nothing to save at step {step}: give item or args=.")
        if not force and not self._is_time(step):
            return False
        if self._orbax is not None and self._orbax.best_fn is not None and metrics is not None:
            metrics = {**metrics, BEST_FN: float(self._orbax.best_fn(metrics))}
        self._state[_ITEM] = found
        self.last_save = self._checkpointer().save(step, metrics=metrics)
        return True

    def wait_until_finished(self) -> None:
        """Wait until every save is durable; raises what went wrong."""
        self._wait()

    # --- restoring ---

    def restore(
        self, step: int | None = None, item: Any = None, *, args: Any = None, strict: bool = True
    ) -> Any:
        """Return a saved pytree; with ``item``, the run goes on from there.

        Args:
            step: Which one; None: the newest that is good.
            item: A pytree of arrays, or of ``jax.ShapeDtypeStruct`` as ``jax.eval_shape`` gives
                them: what is returned has its structure and shardings. None: as it was saved.
            args: Instead of item: what Orbax takes, such as ``StandardRestore(item)``; of a
                ``Composite`` one comes back.
            strict: A leaf that only one side has is an error.

        Raises:
            NotFound: There is no such checkpoint.
            Mismatch: It does not fit.
        """
        self._wait()
        ref = f"{self._run}@{'latest' if step is None else step}"
        like = _item(item, args)
        if like is None:
            return load(self._store, ref, rng=True)[_ITEM]
        like = _unshared(like)
        if is_composite(args):
            like |= self._as_saved(ref, [name for name, value in like.items() if value is None])
        self._state[_ITEM] = like
        if self._checkpointer().restore(ref, strict=strict) is None:
            raise NotFound(f"Run {self._run!r} has no checkpoint.", run=self._run)
        found = self._state[_ITEM]
        return type(args)(**found) if is_composite(args) else found

    def _as_saved(self, ref: str, names: list[str]) -> dict[str, Any]:
        if not names:
            return {}
        found: dict[str, Any] = load(self._store, ref, only=[f"{_ITEM}/{name}" for name in names])
        return dict(found[_ITEM])

    # --- what there is ---

    @property
    def directory(self) -> Path:
        """Where the store is; a bucket's URL as a path."""
        return Path(self._store.path)

    def reload(self) -> None:
        """Do nothing: what there is is looked up each time."""

    def delete(self, step: int) -> None:
        """Remove the checkpoint of a step, and its tags.

        Raises:
            NotFound: There is none.
        """
        self._wait()
        self._store.remove(f"{self._run}@{step}")

    def is_saving_in_progress(self) -> bool:
        """Say whether a save is not durable yet."""
        return self.last_save is not None and not self.last_save.done

    def check_for_errors(self) -> None:
        """Raise what went wrong in the last save, if it has ended."""
        if self.last_save is not None and self.last_save.done:
            self.last_save.wait()

    def all_steps(self, read: bool = False) -> list[int]:
        """Return the steps of all checkpoints, rising.

        Args:
            read: Taken for the sake of Orbax's scripts: they are always looked up.
        """
        return sorted({info.step for info in self._kept()})

    def latest_step(self) -> int | None:
        """Return the step of the newest checkpoint, or None."""
        log = self._log()
        return log[-1].step if log else None

    def best_step(self) -> int | None:
        """Return the step of the best checkpoint by ``best_metric``, or None."""
        if self._best is None:
            return self.latest_step()
        self._wait()
        try:
            return self._store.info(f"{self._run}@{best_name(*self._best)}").step
        except NotFound:
            return None

    def metrics(self, step: int) -> Mapping[str, float]:
        """Return the metrics of a checkpoint."""
        self._wait()
        found = self._store.info(f"{self._run}@{step}").metrics
        return {name: value for name, value in found.items() if name != BEST_FN}


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
    return item_of(args) if args is not None else item


def _unshared(tree: Any) -> Any:
    """Return a tree whose dicts and lists are its own, so that the caller's stay what they are."""
    if type(tree) is dict:
        return {key: _unshared(value) for key, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(_unshared(value) for value in tree)
    return tree
