"""Signals noted, not acted upon: the training loop looks at them at the end of its step."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

from holdfast.engine.shield import true_handler

_log = logging.getLogger("holdfast")


class SignalWatch:
    """Handlers for some signals that only note that they came; whoever had one is called too.

    Args:
        asked: The signals to watch, and what is asked for when one comes; ``exit`` to leave.

    Attributes:
        answered: Signals that were taken and for which the process is to leave.
    """

    def __init__(self, asked: Mapping[int, str]) -> None:
        self._asked = dict(asked)
        self._previous: dict[int, Any] = {}
        self._came: list[int] = []
        self._pid = os.getpid()
        self._is_over = False
        self.answered: tuple[int, ...] = ()

    @property
    def came(self) -> tuple[int, ...]:
        """The signals that have come and were not taken yet."""
        return tuple(self._came)

    @property
    def all_that_came(self) -> tuple[int, ...]:
        """The signals for which the process is to leave, and those that nobody has taken yet."""
        return self.answered + self.came

    def take(self) -> tuple[int, ...]:
        """Return the signals that have come, and forget them."""
        came = tuple(self._came)
        # The list stays: what comes between the two lines is in it, too.
        del self._came[: len(came)]
        if self.leaving(came) is not None:
            self.answered = came
        return came

    def leaving(self, came: Iterable[int]) -> int | None:
        """Return the first of some signals for which the process is to leave, or None."""
        return next((number for number in came if self._asked.get(number) == "exit"), None)

    def begin(self) -> None:
        """Put the handlers in place."""
        numbers = list(self._asked)
        if numbers and threading.current_thread() is not threading.main_thread():
            _log.warning("on.signal() needs the main thread; signals are not watched.")
            return
        for number in numbers:
            # Not that of a shield, which is up while a run begins and has no say afterwards.
            self._previous[number] = true_handler(number)
            signal.signal(number, self._note)

    def end(self) -> None:
        """Put the former handlers back, but where another has come upon this one meanwhile."""
        self._is_over = True
        for number, previous in self._previous.items():
            handler = self._previous[number] = _lasting(number, previous)
            is_main = threading.current_thread() is threading.main_thread()
            if is_main and true_handler(number) == self._note:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    @property
    def _is_gone(self) -> bool:
        """Whether nobody looks at what is noted: it is over, or this is a forked child."""
        return self._is_over or os.getpid() != self._pid

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._is_gone:
            self._pass_on(number, frame)
            return
        if number not in self._came:
            self._came.append(number)
        previous = _lasting(number, self._previous.get(number))
        if callable(previous) and previous is not signal.default_int_handler:
            previous(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Let a signal do what it would do without the watch.

        A process that only noted it could not be ended: nobody there ever looks.
        """
        previous = _lasting(number, self._previous.get(number))
        if callable(previous):
            previous(number, frame)
        elif previous is not signal.SIG_IGN and true_handler(number) == self._note:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _lasting(number: int, handler: Any) -> Any:
    """Return a handler, or what stood before it if it is that of a watch that is gone."""
    while isinstance(owner := getattr(handler, "__self__", None), SignalWatch) and owner._is_gone:
        handler = owner._previous.get(number)
    return handler
