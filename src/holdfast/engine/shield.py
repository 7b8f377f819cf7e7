"""Signals held back while something must not be left half done.

A handler may raise, as that of Ctrl-C does, between any two steps of the main thread.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Real-time signals have handlers of their own kind; asking for each would cost time at every save.
_NUMBERS = sorted(n for n in signal.valid_signals() if n < 32)
# The one that is up, in the main thread.
_shield: Shield | None = None


class Shield:
    """The signals that came while they were held back."""

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}
        self._came: list[tuple[int, FrameType | None]] = []

    def is_wanted_out(self) -> bool:
        """Say whether a Ctrl-C came that will end what is being done."""
        by_default = self._previous.get(signal.SIGINT) is signal.default_int_handler
        return by_default and any(number == signal.SIGINT for number, _ in self._came)

    def raise_up(self) -> None:
        """Hold back every signal that has a handler of Python's, since handlers may raise."""
        for number in _NUMBERS:
            handler = signal.getsignal(number)
            if callable(handler):
                # Noted before it is replaced: a handler that raises here is put back too.
                self._previous[number] = handler
                signal.signal(number, self._note)

    def lower(self) -> None:
        """Put the handlers back, and let what came have its effect; raises what they raise."""
        raised: list[BaseException] = []
        for number, handler in self._previous.items():
            _collect(raised, signal.signal, number, handler)
        for number, frame in self._came:
            _collect(raised, self._previous[number], number, frame)
        if raised:
            raise raised[0]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))


def _collect(raised: list[BaseException], work: Callable[..., object], *args: object) -> None:
    try:
        work(*args)
    except BaseException as error:
        raised.append(error)


@contextmanager
def uninterrupted() -> Iterator[Shield]:
    """Let signals wait until the block is done, then have their effect.

    A handler may raise, as that of Ctrl-C does, between any two steps of a block; what must not
    be left half done is done in here. Signals whose handlers are not Python's act as ever.
    """
    global _shield
    shield = Shield()
    if threading.current_thread() is not threading.main_thread():
        yield shield  # Only the main thread is interrupted.
        return
    if _shield is not None:
        yield _shield
        return
    try:
        shield.raise_up()
        _shield = shield
        yield shield
    finally:
        _shield = None
        shield.lower()
