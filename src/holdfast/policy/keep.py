"""``keep``: the words that retention policies are made with."""

from __future__ import annotations

from holdfast.policy.checks import (
    Mode,
    checked_metric,
    checked_mode,
    exactly_one,
    positive_int,
    positive_number,
)
from holdfast.policy.keep_ages import KeepEveryTime, KeepWithin, checked_age
from holdfast.policy.keep_budget import KeepBudget, parse_size
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.policy.keep_rules import (
    KeepAll,
    KeepBest,
    KeepEveryEpochs,
    KeepEverySteps,
    KeepLast,
    KeepTagged,
)


class keep:  # noqa: N801 - reads as a word: keep=keep.last(3) | keep.best("val_loss")
    """What to keep; the newest checkpoint and tagged ones are kept whatever is said."""

    @staticmethod
    def last(n: int) -> KeepPolicy:
        """Keep the ``n`` checkpoints saved last."""
        return KeepLast(positive_int("keep.last(n)", n))

    @staticmethod
    def best(metric: str, n: int = 1, mode: Mode = "min") -> KeepPolicy:
        """Keep the ``n`` with the best value of a metric; all, while none has a finite value."""
        return KeepBest(
            checked_metric(metric), positive_int("keep.best(n=…)", n), checked_mode(mode)
        )

    @staticmethod
    def every(
        *,
        steps: int | None = None,
        epochs: float | None = None,
        hours: float | None = None,
        days: float | None = None,
    ) -> KeepPolicy:
        """Keep the first of each window of steps, epochs or time; give exactly one amount.

        Args:
            steps: Windows of that many steps, counted from step 0.
            epochs: Windows of that many epochs, counted from 0, as ``ckpt.step(epoch=…)`` told
                them; checkpoints without stay.
            hours: Windows of that many hours, counted from 1970-01-01 in UTC.
            days: The same in days.

        Raises:
            UsageError: None or several are given, or the amount is not above zero.
        """
        unit, amount = exactly_one("keep.every", steps=steps, epochs=epochs, hours=hours, days=days)
        if unit == "steps":
            return KeepEverySteps(positive_int("keep.every(steps=…)", amount))
        number = positive_number(f"keep.every({unit}=…)", amount)
        return KeepEveryEpochs(number) if unit == "epochs" else KeepEveryTime(number, unit)

    @staticmethod
    def within(
        *, hours: float | None = None, days: float | None = None, steps: int | None = None
    ) -> KeepPolicy:
        """Keep what is at most so much older than the newest checkpoint; give one amount.

        Args:
            hours: Saved at most so many hours before it.
            days: The same in days.
            steps: At most so many steps before it.

        Raises:
            UsageError: None or several are given, or the amount is not above zero.
        """
        return KeepWithin(checked_age("keep.within", hours=hours, days=days, steps=steps))

    @staticmethod
    def thinning() -> KeepPolicy:
        """Keep ever fewer with age: all of two hours, then hourly, daily, weekly.

        It is ``keep.within(hours=2) | keep.every(hours=1).within(days=1) |
        keep.every(days=1).within(days=30) | keep.every(days=7)``.
        """
        return (
            keep.within(hours=2)
            | keep.every(hours=1).within(days=1)
            | keep.every(days=1).within(days=30)
            | keep.every(days=7)
        )

    @staticmethod
    def budget(size: int | str) -> KeepPolicy:
        """Keep no more than fits into some storage, of what the policies beside it keep.

        The newest and those with a tag come first, whatever they take; then the best, where a
        policy ranks; then the others, new before old. What checkpoints share counts once.

        Args:
            size: Bytes, or a text such as ``"200GB"`` or ``"1.5TiB"``.

        Raises:
            UsageError: It is no size above zero.
        """
        return KeepBudget(parse_size(size))

    @staticmethod
    def tagged() -> KeepPolicy:
        """Keep only what is always kept: the newest one and those with a tag."""
        return KeepTagged()

    @staticmethod
    def all() -> KeepPolicy:
        """Keep everything, but for older saves of a step that was saved again."""
        return KeepAll()
