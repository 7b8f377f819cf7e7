"""Leaving a run: closed, interrupted, asked to by a signal, or let go of without a word."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable
from contextlib import ExitStack

from holdfast.engine.boundary import Boundary
from holdfast.engine.handle import SaveHandle
from holdfast.engine.last_step import LastStep
from holdfast.engine.ledger import Ledger
from holdfast.engine.lifetime import Lifetime
from holdfast.engine.metrics_feed import MetricsFeed
from holdfast.engine.saver import Saver
from holdfast.engine.schedule import Schedule
from holdfast.engine.signals import SignalWatch
from holdfast.errors import HoldfastError

_log = logging.getLogger("holdfast")


class Leaving:
    """Ends what a run has begun, after a last save where the policy asks for one.

    Args:
        run: Name of the run.
        lifetime: Whether it is left already.
        signals: Those that ask to leave.
        last_step: What there is to save when a step is interrupted.
        ledger: Knows what went wrong.
        schedule: May have begun to agree with other ranks.
        at_end: Called once saver and feed have ended.

    Attributes:
        saver: Ended once it has begun.
        feed: Likewise.
    """

    def __init__(
        self,
        run: str,
        lifetime: Lifetime,
        signals: SignalWatch,
        last_step: LastStep,
        ledger: Ledger,
        schedule: Schedule,
        at_end: Callable[[], None],
    ) -> None:
        self._run = run
        self._lifetime = lifetime
        self._signals = signals
        self._last_step = last_step
        self._ledger = ledger
        self._schedule = schedule
        self.saver: Saver | None = None
        self.feed: MetricsFeed | None = None
        self._at_end = at_end
        self._at_exit = _close_at_exit(self)

    def close(self) -> None:
        """Wait for the saves under way and end; raises what went wrong with one."""
        if self._lifetime.end():
            self.give_back()
            self._ledger.tell_errors()

    def let_go(self) -> None:
        """Close what nobody has closed, and say so."""
        if not self._lifetime.is_open or not self._lifetime.end():
            return
        _log.warning("The Checkpointer of %r was not closed; it is now.", self._run)
        try:
            self.give_back()
            self._ledger.tell_errors()
        except HoldfastError as error:
            _log.error("%s", error)

    def give_back(self) -> None:
        """End the persister and the watching of signals, so far as they have begun."""
        with ExitStack() as ends:
            # Last, when all is durable and Ctrl-C interrupts again: it may take long.
            ends.callback(self._ledger.followers.close)
            ends.callback(self._signals.end)
            ends.callback(self._at_end)
            if self.saver is not None:
                how = self._lifetime.how_it_ended(self._signals.all_that_came)
                ends.callback(self.saver.close, how)
            if self.feed is not None:
                ends.callback(self.feed.close)
            # First: other ranks wait for what was said last.
            ends.callback(self._schedule.close)
        atexit.unregister(self._at_exit)
        self._lifetime.is_over = True

    def leave_if_asked(self, came: tuple[int, ...], handle: SaveHandle | None) -> None:
        """Leave if one of the signals that came asks for it, once a save is durable.

        Raises:
            SystemExit: One does.
        """
        number = self._signals.leaving(came)
        if number is None:
            return
        # Another rank may have got it, and this one not.
        self._signals.answered = self._signals.answered or came
        if handle is not None:
            handle.wait()
        raise SystemExit(128 + number)

    def leave_block(
        self,
        error: BaseException | None,
        save: Callable[[Boundary, str], SaveHandle | None],
    ) -> None:
        """Leave a ``with`` block: save the last whole step if that is wanted, and close.

        Args:
            error: What has left the block, or None.
            save: Saves a step that is over, for a reason.

        Raises:
            SystemExit: A signal asks to leave.
            HoldfastError: A save went wrong, and there is no other error.
        """
        self._lifetime.left_by = error
        came = self._signals.all_that_came
        is_interrupted = isinstance(error, Exception | KeyboardInterrupt) or (
            error is None and came
        )
        if self._lifetime.is_whole and is_interrupted:
            self._last_step.save(error, came, save)
        try:
            self.close()
        except HoldfastError as failure:
            if error is None:
                raise
            # The user's own error is the one to be seen first.
            _log.error("%s", failure)
        # One more may have come while the last save became durable.
        number = self._signals.leaving(came + self._signals.came)
        if number is not None and not isinstance(error, SystemExit):
            if isinstance(error, Exception):
                # Of a worker that the signal has killed too, perhaps; or the user's own.
                _log.error("An error came while a signal asked to leave:", exc_info=error)
            raise SystemExit(128 + number) from error


def _close_at_exit(leaving: Leaving) -> Callable[[], None]:
    """Close when the interpreter ends, if it is still there; return what was registered."""
    reference = weakref.ref(leaving)

    def close() -> None:
        found = reference()
        if found is not None:
            found.close()

    atexit.register(close)
    return close
