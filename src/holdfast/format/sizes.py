"""Sizes in words."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def size_text(nbytes: int) -> str:
    """Return a size in decimal units, with three digits at most.

    >>> size_text(200_000_000_000), size_text(1_234_567), size_text(12)
    ('200 GB', '1.23 MB', '12 B')
    """
    value, power = float(nbytes), 0
    # 999.5 would be rounded to four digits; it belongs to the next unit.
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_UNITS[power]}"
