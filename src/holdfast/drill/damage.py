"""The newest checkpoint damaged, as a disk or a cut connection does it."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.drill.checkpoint_files import Found
from holdfast.drill.work_folder import RunFolder


def damage_newest(folder: RunFolder, found: Found) -> str | None:
    """Damage the newest checkpoint; return what was done, None where there is none.

    Of a store a bit is flipped; other files are cut in half, as few tools would notice a bit.
    """
    packs = [
        path
        for store in found.stores
        for path in (folder.root / store).glob("runs/*/packs/*")
        if path.stat().st_size
    ]
    if packs:
        newest = max(packs, key=lambda path: path.stat().st_mtime_ns)
        _flip(newest)
        return f"a bit flipped in {os.path.relpath(newest, folder.root)}"
    if not found.files:
        return None
    last = max(found.files, key=lambda name: found.files[name].changed_ns)
    beside = [name for name in found.files if os.path.dirname(name) == os.path.dirname(last)]
    # Files of one checkpoint are in a folder of their own, or each is one.
    several = os.path.basename(os.path.dirname(last)).startswith(("checkpoint", "ckpt", "step"))
    name = max(beside, key=lambda one: found.files[one].nbytes) if several else last
    path = folder.root / name
    os.truncate(path, path.stat().st_size // 2)
    return f"{name} cut in half"


def _flip(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))
    path.chmod(mode)
