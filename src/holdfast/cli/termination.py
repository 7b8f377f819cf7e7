"""SIGTERM ends a command as Ctrl-C does, so that it clears away what it has not finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ended_in_order() -> Iterator[Callable[[], bool]]:
    """Raise KeyboardInterrupt at SIGTERM; give what says whether it came.

    Nothing changes where the signal is ignored, or where this is not the main thread.
    """
    came = False

    def stop(number: int, frame: object) -> None:
        nonlocal came
        # Whoever asks twice does not mean that the clearing away shall stop half-way.
        if not came:
            came = True
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before in (signal.SIG_IGN, None):
        yield lambda: False
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGTERM, before)
