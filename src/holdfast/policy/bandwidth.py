"""How much may be sent per second: a bucket that fills with time and is emptied by what is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.errors import UsageError
from holdfast.policy.keep_budget import parse_size

_PER_SECOND = "/s"


@dataclass(frozen=True, slots=True)
class Bucket:
    """What may be sent at a moment, in bytes; below zero is what was sent too early.

    It never holds more than one second brings: who was silent for an hour may not send for an hour
    at once. Over any stretch of time, what is sent is at most what the stretch brings, one second
    more, and the last piece.

    Attributes:
        rate_bytes_s: What one second brings.
        level_bytes: What is in it.
        at_s: When that was, on a monotonic clock.
    """

    rate_bytes_s: float
    level_bytes: float = 0.0
    at_s: float = 0.0

    def after(self, nbytes: int, now_s: float) -> tuple[Bucket, float]:
        """Return the bucket once a piece was sent, and for how long to wait before the next.

        >>> Bucket(100.0).after(250, now_s=1.0)
        (Bucket(rate_bytes_s=100.0, level_bytes=-150.0, at_s=1.0), 1.5)
        """
        come_bytes = max(now_s - self.at_s, 0.0) * self.rate_bytes_s
        level = min(self.level_bytes + come_bytes, self.rate_bytes_s) - nbytes
        now = replace(self, level_bytes=level, at_s=now_s)
        return now, max(-level / self.rate_bytes_s, 0.0)


def parse_bandwidth(limit: object) -> int:
    """Return a number of bytes per second that is given as such or as text.

    Raises:
        UsageError: It is none, or not above zero.

    >>> parse_bandwidth("100MB/s"), parse_bandwidth("1.5 GiB"), parse_bandwidth(1000)
    (100000000, 1610612736, 1000)
    """
    try:
        return parse_size(limit.removesuffix(_PER_SECOND) if isinstance(limit, str) else limit)
    except UsageError as error:
        raise UsageError(
            f"bandwidth= takes bytes per second, or a text such as '100MB/s', not {limit!r}."
        ) from error
