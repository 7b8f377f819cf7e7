"""Damage to files of a store, of the kinds that a repair can put right from a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hypothesis import strategies as st

Harm = Literal["flip", "cut", "gone"]
harms = st.sampled_from(["flip", "cut", "gone"])

# A commit record or a tag that is gone is a checkpoint or a tag that was removed.
KINDS = {"packs": ("flip", "cut", "gone"), "parts": ("flip", "cut", "gone")}
KINDS |= {"commits": ("flip", "cut"), "tags": ("flip", "cut")}


def harmable(store: Path, harm: Harm) -> list[Path]:
    """The files of a store that can be harmed in that way, sorted."""
    found = (p for p in store.glob("runs/*/*/*") if p.parent.name in KINDS)
    return sorted(p for p in found if harm in KINDS[p.parent.name])


def do_harm(path: Path, harm: Harm, where: float) -> None:
    """Harm a file at some share of its length."""
    data = bytearray(path.read_bytes())
    at = min(int(len(data) * where), len(data) - 1)
    if harm == "gone":
        path.unlink()
        return
    if harm == "flip":
        data[at] ^= 0x10
    else:
        del data[at:]
    path.write_bytes(data)
