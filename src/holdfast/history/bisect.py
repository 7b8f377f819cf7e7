"""Which checkpoint to try next, to find where something broke. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from holdfast.errors import UsageError
from holdfast.history.info import CheckpointInfo

Verdict = Literal["good", "bad", "skip"]


@dataclass(frozen=True, slots=True)
class Bisection:
    """A search under way: the checkpoints from a good one to a bad one, and what is known.

    Attributes:
        line: The checkpoints in order; the first is good, the last is bad.
        good: Place of the last one that is known to be good.
        bad: Place of the first one that is known to be bad.
        skipped: Places of those that could not be told.
    """

    line: tuple[CheckpointInfo, ...]
    good: int
    bad: int
    skipped: frozenset[int] = frozenset()

    @property
    def next(self) -> CheckpointInfo | None:
        """The one to try next, the nearest to the middle; None where no more is to be found out."""
        left = [i for i in range(self.good + 1, self.bad) if i not in self.skipped]
        middle = (self.good + self.bad) / 2
        return self.line[min(left, key=lambda i: abs(i - middle))] if left else None

    @property
    def suspects(self) -> tuple[CheckpointInfo, ...]:
        """Those one of which is the first bad one; one alone where the search has ended well."""
        return self.line[self.good + 1 : self.bad + 1]

    @property
    def n_left(self) -> int:
        """How many can still be tried."""
        return self.bad - self.good - 1 - sum(self.good < i < self.bad for i in self.skipped)

    def told(self, verdict: Verdict) -> Bisection:
        """Return the search after ``next`` was tried."""
        tried = self.next
        assert tried is not None
        place = self.line.index(tried)
        if verdict == "good":
            return replace(self, good=place)
        if verdict == "bad":
            return replace(self, bad=place)
        return replace(self, skipped=self.skipped | {place})


def begin(log: Sequence[CheckpointInfo], good: str, bad: str) -> Bisection:
    """Return a search that has not begun.

    It goes along the lineage of the bad one where the good one is in it: training that was rolled
    back is not on the way. Else, its checkpoints being pruned say, along the order of commits.

    Args:
        log: The checkpoints of the run, oldest first; behind those of runs that it was forked
            from, if need be.
        good: Id of one that is good.
        bad: Id of a later one that is bad.

    Raises:
        UsageError: They are the same, or the bad one came before the good one.
    """
    places = {info.id: place for place, info in enumerate(log)}
    first, last = places[good], places[bad]
    if first >= last:
        problem = "are the same checkpoint" if first == last else "came in the other order"
        raise UsageError(
            f"The good one, {log[first].ref}, and the bad one, {log[last].ref}, {problem}: "
            "bisect looks for the first bad one after a good one.",
            good=log[first].ref,
            bad=log[last].ref,
        )
    line = _lineage(log, places, first, last) or log[first : last + 1]
    return Bisection(tuple(line), 0, len(line) - 1)


def _lineage(
    log: Sequence[CheckpointInfo], places: dict[str, int], first: int, last: int
) -> list[CheckpointInfo] | None:
    """Return the way from the last back to the first by parents, oldest first; None if none is."""
    way = [last]
    while way[-1] != first:
        parent = places.get(log[way[-1]].parent or "", -1)
        # A parent came before its child; whatever says otherwise is no lineage.
        if not first <= parent < way[-1]:
            return None
        way.append(parent)
    return [log[place] for place in reversed(way)]


def verdict_of(status: int) -> Verdict | None:
    """Return what a command's exit status says, as ``git bisect run`` reads it.

    Returns:
        ``good`` for 0, ``skip`` for 125, ``bad`` for 1 to 127 else; None to abort the search: 128
        and more, or ended by a signal.

    >>> [verdict_of(status) for status in (0, 1, 125, 127, 128, -9)]
    ['good', 'bad', 'skip', 'bad', None, None]
    """
    if status == 0:
        return "good"
    if status == 125:
        return "skip"
    return "bad" if 0 < status < 128 else None
