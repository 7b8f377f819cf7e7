"""What a rule finds, and how names are told in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NAMES = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run does not resume exactly.

    Attributes:
        rule: The rule that found it.
        words: What it is, for people.
        step: From which step on it shows, if that is known.
    """

    rule: str
    words: str
    step: float | None = None


def listed(names: Sequence[str], between: str = ", ") -> str:
    """Return the first of some names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - _NAMES
    return between.join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
