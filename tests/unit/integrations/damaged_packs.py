"""Checkpoints with a byte that is not what was saved."""

from __future__ import annotations

from pathlib import Path

import holdfast


def damage(store: Path, run: str, step: int) -> None:
    """Change bytes in the middle of what a save has written."""
    own = holdfast.Store(store).info(f"{run}@{step}").id
    pack = max(store.glob(f"runs/{run}/packs/{own}*"), key=lambda p: p.stat().st_size)
    data = bytearray(pack.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    pack.write_bytes(data)
