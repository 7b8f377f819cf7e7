"""Who writes what several ranks hold: shared out by bytes, without a message. Pure."""

from __future__ import annotations

from heapq import heapify, heapreplace


class Shares:
    """Gives each thing to the one of its holders that has the fewest bytes so far.

    Every rank that holds a thing asks the same questions in the same order, and gets the same
    answers: for each set of holders the loads are counted by themselves. Of equal loads the lowest
    rank's counts first.
    """

    def __init__(self) -> None:
        self._loads: dict[tuple[int, ...], list[tuple[int, int]]] = {}

    def writer_of(self, nbytes: int, holders: tuple[int, ...]) -> int:
        """Return the rank that writes a thing.

        Args:
            nbytes: Its bytes.
            holders: The ranks that hold it, rising.

        >>> shares = Shares()
        >>> [shares.writer_of(nbytes, (0, 1)) for nbytes in (5, 2, 2, 2)]
        [0, 1, 1, 1]
        """
        loads = self._loads.get(holders)
        if loads is None:
            loads = self._loads[holders] = [(0, rank) for rank in holders]
            heapify(loads)
        load, rank = loads[0]
        heapreplace(loads, (load + nbytes, rank))
        return rank
