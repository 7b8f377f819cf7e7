"""How fast chunks are encoded and written here, and whether encoding can keep up with the disk.

Both are measured as work done while anybody was at it: threads that work side by side count as what
they achieve together, on a machine as busy as it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

# A rate from less than this would be chance.
_LEAST_BYTES: Final = 8 << 20
# How much faster than the disk encoding must be: it takes turns with other work.
_MARGIN: Final = 1.25
# How fast an old rate is forgotten when new ones are lower.
_DECAY: Final = 0.8


class Meter:
    """Bytes, and the time in which any thread worked on some of them; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._since_s = 0.0
        self._busy_s = 0.0
        self._nbytes = 0

    @contextmanager
    def working(self, nbytes: int) -> Iterator[None]:
        """Count bytes as worked on from now until this is left."""
        with self._lock:
            if self._active == 0:
                self._since_s = time.monotonic()
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1
                self._nbytes += nbytes
                if self._active == 0:
                    self._busy_s += time.monotonic() - self._since_s

    def take(self) -> float | None:
        """Return the rate since the last call, in bytes per second; None where there was little."""
        with self._lock:
            nbytes, busy_s = self._nbytes, self._busy_s
            if nbytes < _LEAST_BYTES or busy_s <= 0:
                return None
            self._nbytes, self._busy_s = 0, 0.0
        return nbytes / busy_s


@dataclass(frozen=True, slots=True)
class Rates:
    """What is known of this machine and store, in bytes per second; None where nothing is.

    ``encode`` counts plain bytes, all cores together; ``write`` counts stored ones.
    """

    encode: float | None = None
    write: float | None = None

    def with_new(self, encode: float | None, write: float | None) -> Rates:
        """Return the rates with a save's own taken in.

        The disk is taken for as fast as it has been lately, since it is seldom asked for all that
        it has when what comes to it is slow.

        >>> Rates(encode=2.0, write=4.0).with_new(4.0, 1.0)
        Rates(encode=3.0, write=3.2)
        """
        if encode is not None and self.encode is not None:
            encode = (encode + self.encode) / 2
        if write is not None and self.write is not None:
            write = max(write, self.write * _DECAY)
        return Rates(
            self.encode if encode is None else encode, self.write if write is None else write
        )

    def encoding_keeps_up(self) -> bool | None:
        """Say whether a save is no slower for being encoded; None where that is not known.

        >>> Rates(1e9, 0.5e9).encoding_keeps_up(), Rates(1e9, 2e9).encoding_keeps_up()
        (True, False)
        """
        if self.encode is None or self.write is None:
            return None
        return self.encode >= _MARGIN * self.write
