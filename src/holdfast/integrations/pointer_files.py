"""Small files that stand where a framework looks for a checkpoint, and say where it really is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from holdfast.errors import ManifestDamaged

_KIND = "holdfast-checkpoint"
_MAX_BYTES = 4096


@final
@dataclass(frozen=True, slots=True)
class Pointer:
    """A checkpoint of a store: its run, the tag that names it, its step and its id."""

    run: str
    tag: str
    step: int
    id: str


def write(path: Path, pointer: Pointer) -> None:
    """Put a pointer at a path, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump({"kind": _KIND, **asdict(pointer)}, file)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(path: Path) -> Pointer | None:
    """Return the pointer at a path; None where something else is there.

    Raises:
        FileNotFoundError: Nothing is there.
        ManifestDamaged: It is a pointer, but not a whole one.
    """
    if path.is_dir() or path.stat().st_size > _MAX_BYTES:
        return None
    data = path.read_bytes()
    if _KIND.encode() not in data:
        return None
    try:
        content = json.loads(data)
        return Pointer(
            str(content["run"]), str(content["tag"]), int(content["step"]), str(content["id"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestDamaged(
            f"{path} should say where a checkpoint is, but is damaged: {error!r}. Nothing was "
            "changed. The checkpoint itself is in the store: 'holdfast log' names it.",
            record=str(path),
        ) from error
