"""How checkpoints are described in tables and in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast.cli import output
from holdfast.cli.tables import Cell, Styled
from holdfast.wording.numbers import metric_text

if TYPE_CHECKING:
    from holdfast.history.best import Best
    from holdfast.history.info import CheckpointInfo, LeafInfo
    from holdfast.history.summary import RunSummary

_VALUE_CHARACTERS = 60


def as_json(info: CheckpointInfo) -> dict[str, object]:
    """Return what is known of a checkpoint without reading its parts, for ``--json``."""
    return {
        "ref": info.ref,
        "run": info.run,
        "step": info.step,
        "id": info.id,
        "seq": info.seq,
        "created": info.created,
        "epoch": info.epoch,
        "metrics": info.metrics,
        "tags": info.tags,
        "reason": info.reason,
        "state_bytes": info.state_bytes,
        "stored_bytes": info.stored_bytes,
        "not_finite": info.not_finite,
        "n_leaves": info.n_leaves,
        "parent": info.parent,
        "incarnation": info.incarnation,
        "resumed_from": info.resumed_from,
        "forked_from": info.forked_from,
        "config": info.config,
        "dataset": info.dataset,
        "notes": info.notes,
        "values": info.values,
        "signed_by": info.signed_by,
        "trust": info.trust,
    }


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


def finite_text(info: CheckpointInfo) -> Cell:
    """Return in a few words what is known of values that are not finite; nothing if nothing is."""
    if not info.not_finite:
        return ""
    return Styled(f"{info.not_finite:,} NaN/inf", "bold red")


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


def bests_json(summary: RunSummary) -> dict[str, object]:
    """Return the lowest and the highest value of each metric, with their steps."""
    return {
        name: {"lowest": lowest, "highest": summary.highest[name]}
        for name, lowest in summary.lowest.items()
    }


def bests_text(found: Sequence[Best]) -> str:
    """Return best values on one line, with an arrow for which way is better."""
    up, down = ("↑", "↓") if output.speaks_unicode() else ("max ", "min ")
    return ", ".join(
        f"{best.metric} {up if best.highest else down}{metric_text(best.value)} @{best.step}"
        for best in found
    )


def value_text(leaf: LeafInfo) -> str:
    """Return what a leaf holds, on one line; nothing for an array of its own."""
    if leaf.alias_of is not None:
        return f"same as {leaf.alias_of}"
    if leaf.value is None:
        return "None" if leaf.kind == "none" else ""
    text = repr(leaf.value)
    return text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + "…"
