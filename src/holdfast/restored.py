"""What users are told of a restore."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from holdfast.engine.restore import Outcome
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.security.trust_policy import TrustPolicy
from holdfast.state import environment

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that was done.

    Attributes:
        ref: ``RUN@STEP`` of the checkpoint.
        step: Its step.
        info: What it is.
        missing: Leaves that were wanted but not in it (only with ``strict=False``).
        unexpected: Leaves that it has but that were not wanted (only with ``strict=False``).
        differing: What was saved as another kind than wanted (only with ``strict=False``): values
            were put in their place, objects of another class left as they were.
        stepped_over: Newer checkpoints that are damaged or not trusted, each with the reason.
        differences: What differs between the environment it was saved in and this one.
        read_bytes: Bytes of the store's packs that this process has read for it. What it had to
            read once more, after all was known to be good, counts once.
        wanted_bytes: Bytes of the arrays that were restored in this process: of those that lie over
            several ranks, its own boxes.
        tier: Where it was: ``memory``, ``home``, or the name of a far tier.
    """

    ref: str
    step: int
    info: CheckpointInfo
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    stepped_over: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    read_bytes: int = 0
    wanted_bytes: int = 0
    tier: str = "home"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from holdfast.history.cards.checkpoint import checkpoint_facts
        from holdfast.markup.card import card, listed

        return card(
            f"Restored {self.ref}",
            checkpoint_facts(self.info),
            listed("Stepped over:", self.stepped_over, "checkpoint"),
            listed("Missing:", self.missing, "leaf"),
            listed("Unexpected:", self.unexpected, "leaf"),
            listed("Saved as another kind:", self.differing, "leaf"),
            listed("Differs here from where it was saved:", self.differences, "difference"),
        )


def restored_of(outcome: Outcome, trust: TrustPolicy | None = None) -> Restored:
    """Return what users are told of an outcome."""
    info = info_of(outcome.record, trust=trust)
    differences = environment.differences(info.environment, environment.capture())
    for difference in differences:
        level = logging.WARNING if difference.may_change_results else logging.INFO
        _log.log(level, "%s, %s", info.ref, difference.text)
    for what in outcome.differing:
        _log.warning("%s, %s", info.ref, what)
    return Restored(
        info.ref,
        info.step,
        info,
        outcome.missing,
        outcome.unexpected,
        outcome.differing,
        outcome.stepped_over,
        (*outcome.notes, *(difference.text for difference in differences)),
        outcome.nbytes.read,
        outcome.nbytes.wanted,
        outcome.tier,
    )
