"""What is still to be done with a pointer file, in a hidden file beside it.

Between the moment at which a checkpoint is durable and the one at which its pointer is there, a
process may be killed. What it leaves here tells the next one what it had meant to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from holdfast.integrations.pointer_files import Pointer

_SUFFIX = ".promise"


@final
@dataclass(frozen=True, slots=True)
class Promise:
    """A pointer that is to be written once its checkpoint is durable, or to be removed.

    Attributes:
        pointer: What the file says, or shall say.
        removed_after: Id of the checkpoint which, once durable, lets the file go; None: it stays.
    """

    pointer: Pointer
    removed_after: str | None = None


def write(path: Path, promise: Promise) -> None:
    """Promise something of the file at a path; what was promised of it before is forgotten."""
    # A promise that cannot be written must not cost the save itself.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = _beside(path)
        unfinished = hidden.with_name(f"{hidden.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(asdict(promise)) + "\n", encoding="utf-8")
        unfinished.replace(hidden)


def forget(path: Path) -> None:
    """Forget what was promised of the file at a path: it is done, or cannot be any more."""
    with suppress(OSError):
        _beside(path).unlink()


def left_in(folder: Path) -> Iterator[tuple[Path, Promise]]:
    """Yield the files in a folder of which something is promised; what is torn is passed over."""
    for hidden in sorted(folder.glob(f".*{_SUFFIX}")):
        try:
            content = json.loads(hidden.read_bytes())
            promise = Promise(Pointer(**content["pointer"]), content["removed_after"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        yield folder / hidden.name.removeprefix(".").removesuffix(_SUFFIX), promise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{_SUFFIX}")
