"""Waiting for what another rank writes, which sends no word."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

# How long for news from another one where the own trainer is gone: those that go on saving after a
# crash are done by then, and who starts the training again shall not wait for the others.
ALONE_S = 10.0
_FIRST_POLL_S, _LAST_POLL_S = 0.005, 0.5
# All ranks together shall ask a store no more often than this, once they ask most seldom; one store
# of objects answers some thousands of requests a second.
_REQUESTS_PER_S = 2000.0
_REQUESTS_PER_POLL = 2


@final
class Waiting:
    """Looks again and again, more and more seldom, until patience ends.

    Args:
        patience_s: For how long.
        is_orphaned: Says whether the own trainer is gone.
        alone_s: For how long without news where it is.
        since_s: From when on, on the monotonic clock; None: from now.
        n_waiting: How many wait for the same; the more there are, the more seldom each looks.
    """

    def __init__(
        self,
        patience_s: float,
        is_orphaned: Callable[[], bool],
        alone_s: float = ALONE_S,
        since_s: float | None = None,
        n_waiting: int = 1,
    ) -> None:
        turn_s = n_waiting * _REQUESTS_PER_POLL / _REQUESTS_PER_S
        self._first_poll_s = max(_FIRST_POLL_S, turn_s / 8)
        self._last_poll_s = max(_LAST_POLL_S, turn_s)
        self._patience_s = patience_s
        self._is_orphaned = is_orphaned
        self._alone_s = alone_s
        self._news_s = time.monotonic()
        self._began_s = self._news_s if since_s is None else since_s
        self._looks = 0
        self._pause_s = 0.0
        self._known: object = None

    @property
    def so_far_s(self) -> float:
        """For how long it has waited."""
        return time.monotonic() - self._began_s

    def goes_on(self, known: object) -> bool:
        """Pause, and say whether to look once more.

        Args:
            known: What has come so far; something new is a reason to wait longer.
        """
        now_s = time.monotonic()
        if known != self._known:
            self._known, self._news_s = known, now_s
        self._looks += 1
        if self._looks == 1:
            # What it waits for may be there, however long ago that began.
            return True
        if now_s - self._began_s > self._patience_s:
            return False
        if now_s - self._news_s > self._alone_s and self._is_orphaned():
            return False
        time.sleep(self._pause_s)
        self._pause_s = min(max(self._first_poll_s, self._pause_s * 1.5), self._last_poll_s)
        return True
