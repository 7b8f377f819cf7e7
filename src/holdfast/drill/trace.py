"""What was seen in the processes of one life of a script, step by step, as frozen values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# An optimizer's step, or a step of a ``Checkpointer``.
StepKind = Literal["o", "c"]


@dataclass(frozen=True, slots=True)
class Moments:
    """One name in an optimizer's state, over all parameters that have it.

    Attributes:
        digest: Of all its elements.
        dtypes: Element types.
        count: Parameters that have it.
        rounded: The shorter type that holds every element exactly, if one does.
    """

    digest: str
    dtypes: tuple[str, ...]
    count: int
    rounded: str | None = None


@dataclass(frozen=True, slots=True)
class StepRow:
    """What a step found as it began.

    Attributes:
        rank: Which process of a distributed run.
        step: The step's number, where a ``Checkpointer`` was told of it.
        rng: Digest of each library's generator.
        model: Digest of each parameter and buffer, by name.
        ties: Names that are one and the same tensor.
        inputs: Digest of each sample that the model was given.
        params: Digest of what the optimizer changes.
        grads: Digest of the gradients.
        settings: Numbers of each parameter group: learning rate, weight decay …
        moments: The optimizer's state, by name.
    """

    rank: str = "0"
    step: int | None = None
    rng: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    ties: frozenset[frozenset[str]] = frozenset()
    inputs: tuple[str, ...] = ()
    params: str = ""
    grads: str = ""
    settings: tuple[Mapping[str, float], ...] = ()
    moments: Mapping[str, Moments] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SaveSeen:
    """A call of ``torch.save``: how many optimizer steps had begun, and how long it took."""

    path: str
    after_steps: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Trace:
    """One life of the script.

    Attributes:
        kind: What its steps are; None where nothing was seen.
        steps: The rows of each rank, in order.
        saves: Calls of ``torch.save`` in rank 0.
        next_step: Where a ``Checkpointer`` went on, if one restored anything.
    """

    kind: StepKind | None = None
    steps: Mapping[str, tuple[StepRow, ...]] = field(default_factory=dict)
    saves: tuple[SaveSeen, ...] = ()
    next_step: int | None = None

    @property
    def main(self) -> tuple[StepRow, ...]:
        """The steps of rank 0."""
        return self.steps.get("0", ())


def parse_trace(files: Iterable[Iterable[str]]) -> Trace:
    """Return the trace that processes have written, a file each, in the order of their begin.

    A last line that was cut short is passed over.
    """
    by_kind: dict[str, dict[str, list[StepRow]]] = {"o": {}, "c": {}}
    saves: list[SaveSeen] = []
    next_step: int | None = None
    for lines in files:
        rows = [row for row in map(_parsed, lines) if row is not None]
        for row in rows:
            if row["kind"] in by_kind:
                by_kind[row["kind"]].setdefault(row["rank"], []).append(_step_row(row))
            # Who trained before goes back by its own will.
            elif row["kind"] == "r" and row["rank"] == "0" and "0" not in by_kind["c"]:
                next_step = row["next_step"]
        saves += _saves(rows)
    kind: StepKind | None = "o" if by_kind["o"] else "c" if by_kind["c"] else None
    steps = by_kind[kind] if kind is not None else {}
    return Trace(kind, {r: tuple(found) for r, found in steps.items()}, tuple(saves), next_step)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "kind" in row else None


def _step_row(row: Mapping[str, Any]) -> StepRow:
    moments = {
        name: Moments(m["digest"], tuple(m["dtypes"]), m["count"], m["rounded"])
        for name, m in row.get("moments", {}).items()
    }
    return StepRow(
        rank=row["rank"],
        step=row.get("step"),
        rng=row.get("rng", {}),
        model=row.get("model", {}),
        ties=frozenset(frozenset(names) for names in row.get("ties", ())),
        inputs=tuple(row.get("inputs", ())),
        params=row.get("params", ""),
        grads=row.get("grads", ""),
        settings=tuple(row.get("settings", ())),
        moments=moments,
    )


def _saves(rows: Sequence[Mapping[str, Any]]) -> list[SaveSeen]:
    found: list[SaveSeen] = []
    began: tuple[str, float] | None = None
    steps = 0
    for row in rows:
        if row["rank"] != "0":
            continue
        if row["kind"] == "o":
            steps += 1
        elif row["kind"] == "s":
            began = (row["path"], row["t"])
        elif row["kind"] == "e" and began is not None:
            found.append(SaveSeen(began[0], steps, row["t"] - began[1]))
            began = None
    if began is not None:
        found.append(SaveSeen(began[0], steps, None))
    return found
