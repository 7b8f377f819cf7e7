"""The keyring of a store once somebody has opened it: all its secrets, in memory only."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.security import keyring as keyrings
from holdfast.security.holders import Holder
from holdfast.security.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An open keyring.

    Attributes:
        ring: Id of the keyring in its store.
        number: How often it has been changed, and once for its making.
        wrapping_key: What its contents are sealed with; wrapped for each holder.
        keyring: The keys.
        holders: Who can open it; not known to a process that got it from another.
    """

    ring: str
    number: int
    wrapping_key: bytes = field(repr=False)
    keyring: Keyring
    holders: tuple[Holder, ...] = ()


def to_message(unlocked: Unlocked) -> dict[str, Any]:
    """Return an open keyring as plain JSON, to be handed to a process of one's own."""
    return {
        "ring": unlocked.ring,
        "number": unlocked.number,
        "wrapping_key": base64.b64encode(unlocked.wrapping_key).decode(),
        "keyring": keyrings.to_json(unlocked.keyring),
    }


def from_message(found: Mapping[str, Any]) -> Unlocked:
    """Return the open keyring of ``to_message``."""
    key = base64.b64decode(found["wrapping_key"])
    return Unlocked(found["ring"], found["number"], key, keyrings.from_json(found["keyring"]))
