"""Whether a process opens a checkpoint that was there before it began."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from typing import Any

from .rows import Writer


def on_opens(paths: Collection[str], writer: Writer) -> None:
    """Write a row as the first of some files is opened to be read, by whatever calls Python's open.

    Args:
        paths: Files, by their real paths.
        writer: Writes the row.
    """
    waiting = {os.path.basename(path): set[str]() for path in paths}
    for path in paths:
        waiting[os.path.basename(path)].add(path)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # Called for whatever happens in the interpreter: all but a few are done with here.
        if event != "open" or not waiting:
            return
        path, _mode, flags = arguments
        if not isinstance(path, str | bytes | os.PathLike) or flags & (os.O_WRONLY | os.O_RDWR):
            return
        name = os.fsdecode(path)
        if os.path.realpath(name) in waiting.get(os.path.basename(name), ()):
            waiting.clear()
            writer.write("l", path=name)

    sys.addaudithook(hook)
