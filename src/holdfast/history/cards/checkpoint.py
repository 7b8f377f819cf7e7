"""A checkpoint as HTML."""

from __future__ import annotations

from datetime import UTC, datetime

from holdfast.format.lineage import Origin
from holdfast.history.info import CheckpointInfo
from holdfast.history.telling import is_refused, metrics_text, notes_text, trust_text
from holdfast.markup.card import badge, card, facts, folded, short
from holdfast.wording.numbers import bytes_text, plural


def checkpoint_card(info: CheckpointInfo) -> str:
    """Return what is known of a checkpoint without reading it."""
    return card(
        info.ref,
        checkpoint_facts(info),
        folded("configuration", info.config or {}),
        folded("environment", info.environment),
        badges=badges_of(info),
    )


def checkpoint_facts(info: CheckpointInfo) -> str:
    """Return the facts of a checkpoint, one below the other."""
    return facts(
        [
            ("saved", moment(info.created)),
            ("reason", short(info.reason)),
            ("epoch", "" if info.epoch is None else f"{info.epoch:g}"),
            ("metrics", short(metrics_text(info.metrics))),
            ("state", f"{bytes_text(info.state_bytes)} in {plural(info.n_leaves, 'leaf')}"),
            ("newly stored", bytes_text(info.stored_bytes)),
            ("signatures", trust_text(info)),
            ("notes", short(notes_text(info.notes, info.values))),
            ("data", info.dataset or ""),
            ("resumed from", _origin(info.resumed_from)),
            ("forked from", _origin(info.forked_from)),
            ("base", _origin(info.base)),
            ("id", info.id),
            ("parent", info.parent or ""),
        ]
    )


def badges_of(info: CheckpointInfo) -> list[str]:
    """Return a checkpoint's names, and what speaks against using it."""
    found = [badge(tag) for tag in info.tags]
    if info.not_finite:
        found.append(badge(f"{info.not_finite:,} NaN/inf", "bad"))
    if is_refused(info):
        found.append(badge("not trusted", "bad"))
    return found


def moment(when: datetime) -> str:
    """Return a time in UTC: what a notebook shows stays there, and an age would be wrong soon.

    >>> moment(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2025-01-02 03:04:05 UTC'
    """
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _origin(origin: Origin | None) -> str:
    return f"{origin.ref} ({origin.id})" if origin is not None else ""
