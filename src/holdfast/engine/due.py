"""What a schedule says of a step."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.tiers.kinds import HOME


@dataclass(frozen=True, slots=True)
class Due:
    """Why to save now, if at all, and from which sequences the checkpoint gets its next names.

    ``signals`` are those that are answered now, whether there is a save or not. ``tiers`` are those
    that ask for the save; that it is wanted at home is one of them.
    """

    reason: str = ""
    versions: tuple[str, ...] = ()
    signals: tuple[int, ...] = ()
    tiers: tuple[str, ...] = (HOME,)
