"""What a schedule says of a step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Due:
    """Why to save now, if at all, and from which sequences the checkpoint gets its next names.

    ``signals`` are those that are answered now, whether there is a save or not.
    """

    reason: str = ""
    versions: tuple[str, ...] = ()
    signals: tuple[int, ...] = ()
