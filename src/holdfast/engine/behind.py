"""What has been written behind a save that waits for other ranks.

Every rank writes its saves in order, and rank 0 commits them in order. So what was done of a later
one tells what will not be done of an earlier one any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.engine.job import SaveJob

# Saves of a process that wait for other ranks at a time. Ranks that train in step are never that
# far apart: each has no more snapshots under way than in_flight allows.
MOST_BEHIND = 4
# Rank 0, which says why, shall be the first to give one up.
MOST_BEHIND_OTHERS = 8
# Nor is one that rank 0 is only slow to commit: it has this time once all before it are committed.
OTHERS_S = 10.0

Behind = Callable[[], Sequence[SaveJob]]


def nothing_behind() -> Sequence[SaveJob]:
    """Return nothing: no save waits behind this one."""
    return ()


def is_given_up_for(later: Sequence[SaveJob], rank: int) -> bool:
    """Say whether a save is given up for the sake of those behind it.

    Else a rank that is gone would hold up the training of the others, once there is no room for
    more saves that wait for it.
    """
    return len(later) > most_behind(rank)


def most_behind(rank: int) -> int:
    """Return how many saves of a rank may wait behind one; with more it is given up."""
    return MOST_BEHIND_OTHERS if rank else MOST_BEHIND
