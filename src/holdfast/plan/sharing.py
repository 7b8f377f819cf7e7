"""Who writes what several ranks hold: shared out by bytes, without a message. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappush, heapreplace


@dataclass(slots=True)
class _Loads:
    """What the holders of a set have been given: by (bytes, place), of those that have any.

    Those behind have nothing yet; that they are not written down keeps this as small as the number
    of things, however many ranks there are.
    """

    heap: list[tuple[int, int]] = field(default_factory=list)

    def give(self, nbytes: int, n_holders: int) -> int:
        """Give a thing to the one with the fewest bytes; return its place among the holders."""
        begun = len(self.heap)
        if begun < n_holders and (not begun or self.heap[0] > (0, begun)):
            heappush(self.heap, (nbytes, begun))
            return begun
        load, place = self.heap[0]
        heapreplace(self.heap, (load + nbytes, place))
        return place


class Shares:
    """Gives each thing to the one of its holders that has the fewest bytes so far.

    Every rank that holds a thing asks the same questions in the same order, and gets the same
    answers: for each set of holders the loads are counted by themselves. Of equal loads the lowest
    rank's counts first.
    """

    def __init__(self) -> None:
        self._loads: dict[Sequence[int], _Loads] = {}

    def writer_of(self, nbytes: int, holders: Sequence[int]) -> int:
        """Return the rank that writes a thing.

        Args:
            nbytes: Its bytes.
            holders: The ranks that hold it, rising; hashable, as a tuple or a range.

        >>> shares = Shares()
        >>> [shares.writer_of(nbytes, (0, 1)) for nbytes in (5, 2, 2, 2)]
        [0, 1, 1, 1]
        """
        loads = self._loads.get(holders)
        if loads is None:
            loads = self._loads[holders] = _Loads()
        return holders[loads.give(nbytes, len(holders))]
