"""Whether anything is new, asked of the store at most once a second."""

from __future__ import annotations

import threading
import time

from holdfast.repository import Store

_FRESH_S = 1.0


class Pulses:
    """The pulses of a store's runs, and of the store as a whole, under None."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str | None, tuple[float, str]] = {}

    def of(self, run: str | None) -> str:
        """Return a text that changes when there is something new."""
        with self._lock:
            at_s, pulse = self._known.get(run, (-_FRESH_S, ""))
            if time.monotonic() - at_s >= _FRESH_S:
                pulse = self._store.pulse(run)
                self._known[run] = time.monotonic(), pulse
            return pulse

    def forget(self) -> None:
        """Ask anew: something was changed here."""
        with self._lock:
            self._known.clear()
