"""What nobody closed is closed when the interpreter ends."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from typing import Protocol


class _Closable(Protocol):
    def close(self) -> None: ...


def close_at_exit(thing: _Closable) -> Callable[[], None]:
    """Close a thing when the interpreter ends, if it is still there.

    Returns:
        What was registered, to be given to ``atexit.unregister``.
    """
    reference = weakref.ref(thing)

    def close() -> None:
        found = reference()
        if found is not None:
            found.close()

    atexit.register(close)
    return close
