"""Numbers as people read them: bytes, durations, ages, counts and metrics."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Literal

_BYTE_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_DATE_AFTER_DAYS = 60
_LONG_UNITS = (
    ("d", _DAY_S, "h", _HOUR_S),
    ("h", _HOUR_S, "min", _MINUTE_S),
    ("min", _MINUTE_S, "s", 1),
)
_HIGHER_IS_BETTER = re.compile(
    r"(^|[^a-z0-9])(acc|accuracy|f1|auc|auroc|ap|map|precision|recall|score|reward|return|bleu"
    r"|rouge|iou|dice|psnr|ssim|r2|top1|top5|mfu|throughput)($|[^a-z0-9])"
)

_LOWER_IS_BETTER = re.compile(
    r"(^|[^a-z0-9])(loss|err|error|nll|ppl|perplexity|bpb|bpc|mse|rmse|mae|mape|wer|cer|fid|kl)"
    r"($|[^a-z0-9])"
)


def bytes_text(count: int) -> str:
    """Return a size in decimal units with three significant digits.

    >>> bytes_text(999), bytes_text(1_493_000_000), bytes_text(0)
    ('999 B', '1.49 GB', '0 B')
    """
    if abs(count) < 1000:
        return f"{count} B"
    value, power = count / 1000, 0
    # 999.5 would be rounded to four digits; it belongs to the next unit.
    while abs(value) >= 999.5 and power + 1 < len(_BYTE_UNITS):
        value, power = value / 1000, power + 1
    return f"{_three_digits(value)} {_BYTE_UNITS[power]}"


def age_text(then: datetime, now: datetime) -> str:
    """Return how long ago something was; after two months, its date.

    >>> noon = datetime(2025, 1, 1, 12)
    >>> age_text(noon, noon + timedelta(minutes=3)), age_text(noon, noon - timedelta(hours=1))
    ('3 min ago', '1 h ahead of this clock')
    """
    seconds = (now - then) / timedelta(seconds=1)
    if -_MINUTE_S < seconds < 5:
        return "just now"
    if seconds < 0:
        return f"{_one_unit(-seconds)} ahead of this clock"
    if seconds >= _DATE_AFTER_DAYS * _DAY_S:
        return then.strftime("%Y-%m-%d")
    return f"{_one_unit(seconds)} ago"


def minute_text(at_ns: int) -> str:
    """Return a moment, in nanoseconds since 1970, to the minute in UTC.

    >>> minute_text(0)
    '1970-01-01 00:00'
    """
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")


def duration_text(seconds: float) -> str:
    """Return a duration with about three significant digits.

    >>> duration_text(0.0123), duration_text(75.0), duration_text(90_000.0), duration_text(0.0)
    ('12.3 ms', '75.0 s', '1 d 1 h', '0 s')
    """
    if math.isinf(seconds):
        return "never"
    if seconds < 1e-6:
        return "0 s"
    for unit, size_s in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if seconds < (120.0 if unit == "s" else 1000.0 * size_s):
            return f"{_three_digits(seconds / size_s)} {unit}"
    for unit, size_s, smaller, small_s in _LONG_UNITS:
        if seconds >= size_s:
            large, small = divmod(round(seconds / small_s), round(size_s / small_s))
            return f"{large:,} {unit} {small} {smaller}" if small else f"{large:,} {unit}"
    raise AssertionError(seconds)


def share_text(share: float) -> str:
    """Return a share in per cent.

    >>> share_text(0.5), share_text(0.00012), share_text(0.0)
    ('50.0 %', '0.012 %', '0 %')
    """
    if share and share < 0.001:
        return f"{share * 100:.2g} %"
    return f"{share * 100:.1f} %" if share else "0 %"


def metric_text(value: float) -> str:
    """Return a metric with four significant digits.

    >>> metric_text(0.123456), metric_text(12.0), metric_text(float("nan"))
    ('0.1235', '12', 'nan')
    """
    return f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "leaf"), plural(1200, "checkpoint")
    ('1 leaf', '1,200 checkpoints')
    """
    plurals = {"leaf": "leaves", "process": "processes"}
    return f"{count:,} {noun if count == 1 else plurals.get(noun, noun + 's')}"


def higher_is_better(metric: str) -> bool:
    """Guess from a metric's name whether its best value is the highest.

    >>> higher_is_better("val_accuracy"), higher_is_better("val_loss"), higher_is_better("mape")
    (True, False, False)
    """
    return _HIGHER_IS_BETTER.search(metric.lower().replace("_", " ")) is not None


def lower_is_better(metric: str) -> bool:
    """Guess from a metric's name whether its best value is the lowest.

    >>> lower_is_better("val_loss"), lower_is_better("lr"), lower_is_better("accuracy")
    (True, False, False)
    """
    return _LOWER_IS_BETTER.search(metric.lower().replace("_", " ")) is not None


def mode_of(metric: str) -> Literal["min", "max"] | None:
    """Return which way a metric is better, as its name suggests; None for a learning rate, say.

    >>> mode_of("val_loss"), mode_of("accuracy"), mode_of("lr")
    ('min', 'max', None)
    """
    if higher_is_better(metric):
        return "max"
    return "min" if lower_is_better(metric) else None


def _three_digits(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def _one_unit(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{int(seconds)} s"
    if seconds < _HOUR_S:
        return f"{int(seconds // _MINUTE_S)} min"
    if seconds < 2 * _DAY_S:
        return f"{int(seconds // _HOUR_S)} h"
    return f"{int(seconds // _DAY_S)} d"
