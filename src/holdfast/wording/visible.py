"""Text that came from elsewhere, as it can be shown."""

from __future__ import annotations

import re

# What a terminal would obey instead of show: control characters, and marks that turn text round.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return text that came from a store or an error, safe to show.

    >>> visible("run\\x1b[2J")
    'run\\\\x1b[2J'
    """
    return _OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
