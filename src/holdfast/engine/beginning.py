"""Whether a run that has checkpoints is begun anew, without anybody having looked at them."""

from __future__ import annotations

import logging

from holdfast.records import commits
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


class Beginning:
    """Knows whether ``restore()`` was called; where it was not, what is there is spared."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        self._store = store
        self._run = run
        self._has_looked = False
        self._has_warned = False

    @property
    def spares_others(self) -> bool:
        """Whether retention shall leave alone what earlier processes have saved."""
        return not self._has_looked

    def look(self) -> None:
        """Note that the run was asked for its checkpoints."""
        self._has_looked = True

    def warn(self) -> None:
        """Say so, at the first save, if the run has checkpoints that nobody has asked for."""
        if self._has_looked or self._has_warned:
            return
        self._has_warned = True
        numbers = commits.sequence_numbers(self._store, self._run)
        if numbers:
            _log.warning(
                "Run %r has %d checkpoint(s) already, and restore() was not called: training "
                "begins anew beside them. They stay, whatever keep= says, but what is saved now "
                "becomes the latest. Call restore() first to go on from them, or give this run "
                "another name.",
                self._run,
                len(numbers),
            )
