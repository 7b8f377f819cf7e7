"""How checkpoints are described in tables and in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.cli import output
from holdfast.cli.numbers import higher_is_better, metric_text

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo, LeafInfo
    from holdfast.repository import Store

_VALUE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Best:
    """The best value that a metric had in a run, and where."""

    metric: str
    highest: bool
    value: float
    step: int


def as_json(info: CheckpointInfo) -> dict[str, object]:
    """Return what is known of a checkpoint without reading its parts, for ``--json``."""
    return {
        "ref": info.ref,
        "run": info.run,
        "step": info.step,
        "id": info.id,
        "seq": info.seq,
        "created": info.created,
        "metrics": info.metrics,
        "tags": info.tags,
        "reason": info.reason,
        "state_bytes": info.state_bytes,
        "stored_bytes": info.stored_bytes,
        "n_leaves": info.n_leaves,
        "parent": info.parent,
        "signed_by": info.signed_by,
        "trust": info.trust,
    }


def damaged(store: Store, run: str) -> list[str]:
    """Return why each of a run's commits that cannot be read cannot; its log leaves them out."""
    from holdfast.records.commits import DamagedCommit, all_commits

    found = all_commits(store.open(create=False), run)
    return [str(commit.error) for commit in found if isinstance(commit, DamagedCommit)]


def bytes_on_disk(store: Store, run: str) -> int:
    """Return what a run's checkpoints take in the store, data and manifests."""
    from holdfast.format.names import RunKeys

    objects, keys = store.open(create=False), RunKeys(run)
    return sum(found.size for part in (keys.packs, keys.parts) for found in objects.list(part))


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


def metric_names(checkpoints: Iterable[CheckpointInfo]) -> list[str]:
    """Return the names of all metrics that any of the checkpoints has, in order of appearance."""
    return list(dict.fromkeys(name for info in checkpoints for name in info.metrics))


def bests(checkpoints: Sequence[CheckpointInfo]) -> list[Best]:
    """Return each metric's best value: the lowest, or the highest where its name suggests so."""
    return [
        best
        for name in metric_names(checkpoints)
        if (best := best_of(checkpoints, name, highest=higher_is_better(name))) is not None
    ]


def best_of(checkpoints: Iterable[CheckpointInfo], metric: str, *, highest: bool) -> Best | None:
    """Return a metric's lowest or highest value; the earliest of equals, and never NaN."""
    values = [
        (info.metrics[metric], info.step)
        for info in checkpoints
        if not math.isnan(info.metrics.get(metric, math.nan))
    ]
    if not values:
        return None
    value, step = min(values, key=lambda found: -found[0] if highest else found[0])
    return Best(metric, highest, value, step)


def bests_json(checkpoints: Sequence[CheckpointInfo]) -> dict[str, object]:
    """Return the lowest and the highest value of each metric, with their steps."""
    return {
        name: {
            "lowest": _value_json(best_of(checkpoints, name, highest=False)),
            "highest": _value_json(best_of(checkpoints, name, highest=True)),
        }
        for name in metric_names(checkpoints)
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


def _value_json(best: Best | None) -> dict[str, object] | None:
    return None if best is None else {"value": best.value, "step": best.step}
