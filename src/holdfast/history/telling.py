"""What checkpoints, leaves and changes are, in a few words: for terminals and for HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast.wording.numbers import metric_text

if TYPE_CHECKING:
    from holdfast.history.diff.movement import Movement
    from holdfast.history.diff.report import TensorChange
    from holdfast.history.info import CheckpointInfo, LeafInfo

_VALUE_CHARACTERS = 60


def is_refused(info: CheckpointInfo) -> bool:
    """Tell whether there is a trust policy and it does not trust a checkpoint."""
    return info.trust is not None and not info.trust.trusted


def trust_text(info: CheckpointInfo) -> str:
    """Return in a word or two what is known of who made a checkpoint, nothing if nothing is."""
    if info.trust is None:
        return "not checked" if info.signed_by else ""
    if not info.trust.trusted:
        return "NOT TRUSTED"
    return ", ".join(info.trust.signers) or "not signed"


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Return metrics on one line.

    >>> metrics_text({"loss": 0.25, "epoch": 3.0})
    'loss 0.25, epoch 3'
    """
    return ", ".join(f"{name} {metric_text(value)}" for name, value in metrics.items())


def notes_text(texts: Sequence[str], values: Mapping[str, object]) -> str:
    """Return notes on one line: texts, then values.

    >>> notes_text(["diverged"], {"lr": 0.1})
    'diverged; lr=0.1'
    """
    return "; ".join([*texts, *(f"{name}={value}" for name, value in values.items())])


def metric_names(checkpoints: Iterable[CheckpointInfo]) -> list[str]:
    """Return the names of all metrics that any of the checkpoints has, in order of appearance."""
    return list(dict.fromkeys(name for info in checkpoints for name in info.metrics))


def value_text(leaf: LeafInfo) -> str:
    """Return what a leaf holds, on one line; nothing for an array of its own, as it was."""
    if leaf.alias_of is not None:
        return f"same as {leaf.alias_of}"
    if leaf.cast_from is not None:
        return f"cast from {leaf.cast_from}"
    if leaf.value is None:
        return "None" if leaf.kind == "none" else ""
    text = repr(leaf.value)
    return text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + "…"


def kind_text(leaf: LeafInfo) -> str:
    """Return what kind of leaf it is and, of an array, its shape."""
    if leaf.shape is None:
        return leaf.kind
    return f"{leaf.dtype} {'×'.join(map(str, leaf.shape)) or 'scalar'}"


def fact_text(value: object) -> str:
    """Return one fact of a checkpoint; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, float):
        return metric_text(value)
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def most_moved_first(tensor: TensorChange) -> tuple[bool, float]:
    """Return a key to sort by: what moved farthest first, what cannot be compared last."""
    relative = math.nan if tensor.movement is None else tensor.movement.relative
    return (math.isnan(relative), 0.0 if math.isnan(relative) else -relative)


def movement_texts(movement: Movement | None) -> list[str]:
    """Return how far a tensor that was read moved: relative, cosine, largest, share, not finite."""
    assert movement is not None
    bad = max(movement.not_finite_before, movement.not_finite_after)
    if not movement.n_compared:
        return ["", "", "", f"{movement.share_changed:.1%}", f"{bad:,}" if bad else ""]
    return [
        metric_text(movement.relative),
        f"{movement.cosine:.6f}",
        metric_text(movement.largest),
        f"{movement.share_changed:.1%}",
        f"{bad:,}" if bad else "",
    ]
