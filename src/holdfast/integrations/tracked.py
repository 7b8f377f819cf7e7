"""What a tracker of experiments is told of a checkpoint, and which checkpoints it is told of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

from holdfast.errors import UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history.info import CheckpointInfo

When = Literal["every", "best", "tagged"]
# The file, beside what is logged, that says which checkpoint it is.
POINTER = "holdfast-checkpoint.json"


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """Which checkpoints a tracker gets.

    Attributes:
        when: Any of ``every``, ``best``, ``tagged``.
        best: ``METRIC`` or ``METRIC:max``, by which one is the best; None: none is.
    """

    when: tuple[str, ...]
    best: str | None

    def takes(self, *, is_best: bool, is_tagged: bool) -> bool:
        """Say whether a checkpoint is one of them.

        >>> choice_of(["best", "tagged"], "loss").takes(is_best=False, is_tagged=True)
        True
        """
        applies = {"every": True, "best": is_best, "tagged": is_tagged}
        return any(applies[name] for name in self.when)


def choice_of(when: When | Sequence[When], best: str | None) -> Choice:
    """Return the choice that arguments of a tracker make.

    Raises:
        UsageError: They are not possible.
    """
    given = (when,) if isinstance(when, str) else tuple(when)
    unknown = [name for name in given if name not in get_args(When)]
    if unknown or not given:
        raise UsageError(
            f"when= takes {', '.join(map(repr, get_args(When)))}, or several of them, not "
            f"{unknown[0] if unknown else when!r}."
        )
    if best is not None and (not best or best.startswith("best:")):
        raise UsageError("best= takes the name of a metric, 'val_loss' or 'accuracy:max' say.")
    if "best" in given and best is None:
        raise UsageError("when='best' needs best=, the metric to be best by: best='val_loss'.")
    return Choice(given, best)


@final
@dataclass(frozen=True, slots=True)
class Tracked:
    """A checkpoint as a tracker is told of it.

    Attributes:
        info: What it is, with all the names that it has by now.
        store: Where it is.
        commit: Digest of its commit, in hex: what its signatures sign.
        is_best: Whether it is the best of its run so far.
    """

    info: CheckpointInfo
    store: str
    commit: str
    is_best: bool

    def facts(self) -> dict[str, Any]:
        """Return what it is, where it is and how it can be known again, as plain values."""
        info = self.info
        return {
            "run": info.run,
            "step": info.step,
            "ref": info.ref,
            "id": info.id,
            "commit": f"blake3:{self.commit}",
            "store": self.store,
            "created": info.created.isoformat(),
            "tags": list(info.tags),
            "epoch": info.epoch,
            "metrics": dict(info.metrics),
        }

    def pointer(self) -> str:
        """Return the text of a file that says all that."""
        return json.dumps({"kind": "holdfast-checkpoint", **self.facts()}, indent=2) + "\n"


def tracked_of(info: CheckpointInfo, record: CommitRecord, store: str, is_best: bool) -> Tracked:
    """Return a checkpoint as a tracker is told of it."""
    return Tracked(info, store, record.link.digest.hex(), is_best)
