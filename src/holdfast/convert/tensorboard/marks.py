"""What is worth a mark on a run's curves: checkpoints, and where training began anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.history.info import CheckpointInfo

CHECKPOINTS, STARTS, CONFIG = "holdfast/checkpoints", "holdfast/starts", "holdfast/config"


@dataclass(frozen=True, slots=True)
class Mark:
    """A text at a step: under which name, in Markdown, and when, in seconds since 1970."""

    step: int
    name: str
    text: str
    time_s: float


def marks_of(checkpoints: Sequence[CheckpointInfo]) -> Iterator[Mark]:
    """Yield the marks of a run.

    Args:
        checkpoints: All of it, oldest first.
    """
    config: object = None
    seen: set[str] = set()
    for info in checkpoints:
        time_s = info.created.timestamp()
        if info.incarnation not in seen and (origin := info.resumed_from or info.forked_from):
            how = "resumed from" if info.resumed_from else "forked from"
            yield Mark(origin.step, STARTS, f"{how} `{origin.ref}`", time_s)
        seen.add(info.incarnation)
        if info.config is not None and info.config != config:
            config = info.config
            text = json.dumps(config, indent=2, ensure_ascii=False, default=str)
            yield Mark(info.step, CONFIG, f"```json\n{text}\n```", time_s)
        yield Mark(info.step, CHECKPOINTS, _told(info), time_s)


def _told(info: CheckpointInfo) -> str:
    parts = [f"`{info.ref}`"]
    if info.tags:
        parts.append("tags: " + ", ".join(f"`{tag}`" for tag in info.tags))
    if info.reason:
        parts.append(f"saved: {info.reason}")
    if info.not_finite:
        parts.append(f"{info.not_finite:,} values are NaN or infinite")
    parts += [f"note: {note}" for note in info.notes]
    return "  \n".join(parts)
