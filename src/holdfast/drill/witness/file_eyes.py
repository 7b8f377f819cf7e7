"""Whether a process opens a checkpoint that was there before it began."""

from __future__ import annotations

import contextlib
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
    waiting = set(paths)
    suffixes = {os.path.splitext(path)[1] for path in paths}

    def look(path: Any, flags: int) -> None:
        if isinstance(path, int) or flags & (os.O_WRONLY | os.O_RDWR):
            return
        name = os.fsdecode(path)
        # A script may open thousands of files: only what is called like a checkpoint is followed,
        # for the last one may be a link to the best one.
        if os.path.splitext(name)[1] in suffixes and os.path.realpath(name) in waiting:
            waiting.clear()
            writer.write("l", path=name)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # Called for whatever happens in the interpreter: all but a few are done with here.
        if event == "open" and waiting:
            # The script's own call goes on, whatever it is that cannot be looked at.
            with contextlib.suppress(Exception):
                look(arguments[0], arguments[2])

    sys.addaudithook(hook)
