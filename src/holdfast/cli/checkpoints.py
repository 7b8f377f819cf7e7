"""How checkpoints are described in tables and in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.cli import output
from holdfast.cli.tables import Cell, Styled
from holdfast.wording.numbers import metric_text

if TYPE_CHECKING:
    from holdfast.history.best import Best
    from holdfast.history.info import CheckpointInfo
    from holdfast.history.summary import RunSummary


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
        "base": info.base,
        "config": info.config,
        "dataset": info.dataset,
        "notes": info.notes,
        "values": info.values,
        "signed_by": info.signed_by,
        "trust": info.trust,
    }


def finite_text(info: CheckpointInfo) -> Cell:
    """Return in a few words what is known of values that are not finite; nothing if nothing is."""
    if not info.not_finite:
        return ""
    return Styled(f"{info.not_finite:,} NaN/inf", "bold red")


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
