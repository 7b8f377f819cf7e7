"""Signals held back while something must not be left half done.

A handler may raise, as that of Ctrl-C does, between any two steps of the main thread.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
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
        self._is_down = False

    def is_wanted_out(self) -> bool:
        """Say whether a Ctrl-C came that will end what is being done."""
        by_default = self._previous.get(signal.SIGINT) is signal.default_int_handler
        return by_default and any(number == signal.SIGINT for number, _ in self._came)

    def raise_up(self) -> None:
        """Hold back every signal that has a handler of Python's, since handlers may raise."""
        for number in _NUMBERS:
            handler = true_handler(number)
            if callable(handler):
                # Noted before it is replaced: a handler that raises here is put back too.
                self._previous[number] = handler
                signal.signal(number, self._note)

    def lower(self) -> None:
        """Put the handlers back, and let what came have its effect; raises what they raise."""
        self._is_down = True
        raised: list[BaseException] = []
        while True:
            try:
                self._put_back(raised)
                break
            except BaseException as error:
                # Of a handler that was back already: the others shall be too.
                raised.append(error)
        if raised:
            raise raised[0]

    def _put_back(self, raised: list[BaseException]) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        while self._came:
            number, frame = self._came.pop(0)
            try:
                self._previous[number](number, frame)
            except BaseException as error:
                raised.append(error)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._is_down:
            self._came.append((number, frame))
            return
        # Not put back: a signal that raised came in between. It heals itself.
        signal.signal(number, self._previous[number])
        self._previous[number](number, frame)

    def handler_before(self, number: int) -> Any:
        """Return the handler that a signal had before it was held back."""
        return self._previous[number]


def true_handler(number: int) -> Any:
    """Return the handler of a signal; not a shield's that was left in its place."""
    handler = signal.getsignal(number)
    while isinstance(owner := getattr(handler, "__self__", None), Shield):
        handler = owner.handler_before(number)
    return handler


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
