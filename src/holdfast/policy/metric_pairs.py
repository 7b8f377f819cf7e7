"""Which metrics are of training and which of validation, guessed from their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_VALIDATION = re.compile(r"^(val|valid|validation|eval|test|dev)([_/.\- ])(.+)$", re.IGNORECASE)
_TRAIN = ("train", "training")


def metric_pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of a training metric and the validation metric that belongs to it.

    >>> metric_pairs(["loss", "val_loss", "train/acc", "eval/acc", "lr"])
    [('loss', 'val_loss'), ('train/acc', 'eval/acc')]
    """
    there = list(dict.fromkeys(names))
    pairs = []
    for name in there:
        if (found := _VALIDATION.match(name)) is None:
            continue
        _, separator, rest = found.groups()
        candidates = [rest, *(f"{word}{separator}{rest}" for word in _TRAIN)]
        pairs += [(train, name) for train in candidates if train in there][:1]
    return pairs
