"""A limit on what is sent per second, kept by waiting between pieces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import final

from holdfast.policy.bandwidth import Bucket
from holdfast.store.contract import Buffer

PIECE_BYTES = 8 << 20


@final
class Throttle:
    """Lets pieces through, not faster than a rate.

    Args:
        rate_bytes_s: What may be sent per second; None: as much as goes.
        wait: Called with seconds to wait.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        rate_bytes_s: int | None,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = None if rate_bytes_s is None else Bucket(rate_bytes_s, 0.0, clock())
        self._wait = wait
        self._clock = clock

    @property
    def piece_bytes(self) -> int:
        """How much to send at a time: what a second brings at most, to be even."""
        if self._bucket is None:
            return PIECE_BYTES
        # Of whole pages: who writes past the cache needs that.
        return max(min(PIECE_BYTES, int(self._bucket.rate_bytes_s)) // 4096 * 4096, 4096)

    def sent(self, nbytes: int) -> None:
        """Note that a piece is on its way, and wait until the next may be."""
        if self._bucket is None:
            return
        self._bucket, wait_s = self._bucket.after(nbytes, self._clock())
        if wait_s:
            self._wait(wait_s)


@final
class Paced(Sequence[Buffer]):
    """A buffer in pieces, each of which comes when it may be sent.

    Args:
        data: The buffer.
        throttle: The limit.
    """

    def __init__(self, data: memoryview, throttle: Throttle) -> None:
        size = throttle.piece_bytes
        self._pieces = [data[at : at + size] for at in range(0, data.nbytes, size)]
        self._throttle = throttle

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        return self._pieces[at]

    def __iter__(self) -> Iterator[Buffer]:
        for piece in self._pieces:
            yield piece
            self._throttle.sent(piece.nbytes)
