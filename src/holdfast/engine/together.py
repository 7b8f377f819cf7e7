"""When ranks that train together save: what all see alike, what rank 0 calls for, what it judges.

Steps and epochs are the same on every rank, and each decides by itself. What goes by a clock, a
signal or costs is called for by rank 0, some steps ahead (``policy.agreement``). Whether a metric
is the best is judged by rank 0, of the very step that it was measured at: the others wait for its
word at such steps, which are few.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from holdfast.distributed.board import Board, Posts
from holdfast.distributed.ranks import Ranks
from holdfast.engine.due import Due
from holdfast.errors import UsageError
from holdfast.policy import agreement as agreed
from holdfast.policy.agreement import Ask, Call, Verdict, Word
from holdfast.policy.moment import Moment, Past
from holdfast.policy.when import AnyOf, SavePolicy

_log = logging.getLogger("holdfast")

# Within the grace that schedulers give between SIGTERM and SIGKILL: 30 seconds, mostly.
LEAVE_AFTER_S = 20.0
_ASK_AGAIN_S = 1.0
# Steps by whose times the lead goes.
_STEPS_MEASURED = 16
_BOTH = "on.best() takes the value of rank 0: give it to step() on all ranks, at the same steps."


@dataclass(frozen=True, slots=True)
class Parts:
    """A policy by who decides: every rank by itself, rank 0 ahead, rank 0 at the very step."""

    alike: AnyOf
    led: AnyOf
    judged: AnyOf


def parts_of(policy: SavePolicy) -> Parts:
    """Divide a policy by who decides."""
    members = policy.policies if isinstance(policy, AnyOf) else (policy,)
    alike = tuple(member for member in members if member.is_same_for_all)
    judged = tuple(m for m in members if m.best_metrics and not m.is_same_for_all)
    led = tuple(m for m in members if m not in alike and m not in judged)
    return Parts(AnyOf(alike), AnyOf(led), AnyOf(judged))


@final
class Together:
    """Says, on each rank, whether all of them save a step.

    Args:
        ranks: Those that save together; their group has a place for notices.
        policy: When.
    """

    def __init__(self, ranks: Ranks, policy: SavePolicy) -> None:
        self._parts = parts_of(policy)
        self._rank = ranks.rank
        self._patience_s = ranks.patience_s
        self._scope = f"holdfast/{ranks.incarnation}"
        self._generation = 0
        posts = ranks.group
        assert isinstance(posts, Posts)
        self._board = Board(posts, ranks.world_size)
        self.begin()

    def begin(self) -> None:
        """Begin anew: all ranks have restored the same checkpoint, or train from the start."""
        self._generation += 1
        self._word, self._text = Word(), ""
        self._before: int | None = None
        self._times: list[tuple[int, float]] = []
        self._asked: Ask | None = None
        self._asked_s = self._told_s = 0.0
        self._is_deaf = False
        self._judged = -1
        keys = [f"{self._scope}/{self._generation}/{name}" for name in ("word", "ask")]
        reads, writes = keys if self._rank else keys[::-1]
        self._board.begin(reads, writes)

    def close(self) -> None:
        """Let the others read what was said last, and end."""
        self._board.close()

    def due(self, now: Moment, past: Past) -> Due:
        """Return whether and why all ranks save at a step; ``now`` is how this rank sees it.

        Raises:
            UsageError: Rank 0 and this rank were not given a metric at the same steps.
        """
        before = now.step - 1 if self._before is None else self._before
        self._before = now.step
        reasons = list(self._parts.alike.due(now, past))
        calls, verdict = (self._follow if self._rank else self._lead)(now, past, before)
        reasons += [call.reason for call in calls]
        reasons += [verdict.reason] if verdict is not None and verdict.reason else []
        versions = verdict.versions if verdict is not None else ()
        signals = [number for call in calls for number in call.signals]
        if self._asked is not None and self._must_leave():
            signals += self._asked.signals
            self._asked = None
        return Due(", ".join(dict.fromkeys(reasons)), versions, tuple(dict.fromkeys(signals)))

    # --- rank 0 ---

    def _lead(
        self, now: Moment, past: Past, before: int
    ) -> tuple[tuple[Call, ...], Verdict | None]:
        word = self._word
        if self._parts.led.policies:
            word = self._called(word, now, past)
        verdict = None
        if self._parts.judged.policies and now.metrics:
            due = ", ".join(self._parts.judged.due(now, past))
            verdict = Verdict(now.step, due, self._parts.judged.versions(now, past))
            word = agreed.judged(word, verdict)
        if word is not self._word:
            self._word = word
            self._board.write(agreed.to_text(word))
        return agreed.calls_between(word, before, now.step), verdict

    def _called(self, word: Word, now: Moment, past: Past) -> Word:
        lead = self._lead_steps(now)
        signals = tuple(dict.fromkeys((*now.signals, *self._asked_for())))
        is_pending = any(call.step >= now.step for call in word.calls)
        reason = ", ".join(self._parts.led.due(replace(now, signals=signals), past))
        if reason and (signals or not is_pending):
            return agreed.called(word, now.step, lead, reason, signals)
        if agreed.needs_extension(word, now.step, lead):
            return agreed.extended(word, now.step, lead)
        return word

    def _asked_for(self) -> tuple[int, ...]:
        """Return the signals that another rank has got and no call answers yet."""
        text = self._board.found
        if text is None:
            return ()
        ask = agreed.ask_of(text)
        return tuple(n for n in ask.signals if not agreed.is_answered(ask, n, self._word))

    def _lead_steps(self, now: Moment) -> int:
        self._times = [*self._times[-_STEPS_MEASURED:], (now.step, now.time_s)]
        (first, first_s), n = self._times[0], len(self._times) - 1
        if not n or now.step <= first:
            return 1
        return agreed.lead_steps(max((now.step - first) // n, 1), (now.time_s - first_s) / n)

    # --- the others ---

    def _follow(
        self, now: Moment, past: Past, before: int
    ) -> tuple[tuple[Call, ...], Verdict | None]:
        calls: tuple[Call, ...] = ()
        if self._parts.led.policies:
            self._ask(now)
            self._hear(lambda word: word.clear >= now.step)
            calls = agreed.calls_between(self._word, before, now.step)
            answered = {number for call in calls for number in call.signals}
            if self._asked is not None and answered.issuperset(self._asked.signals):
                self._asked = None
        verdict = None
        if self._parts.judged.policies:
            if now.metrics:
                verdict = self._verdict(now)
                self._judged = now.step
            self._require_all_judged(before)
        return calls, verdict

    def _verdict(self, now: Moment) -> Verdict | None:
        def has_judged(word: Word) -> bool:
            return word.at > now.step or any(v.step == now.step for v in word.verdicts)

        self._is_deaf = False
        if not self._hear(has_judged):
            return None
        found = [v for v in self._word.verdicts if v.step == now.step]
        if not found:
            raise UsageError(
                f"Whether step {now.step} is the best cannot be told: rank {self._rank} was given "
                f"{', '.join(now.metrics)} there, and rank 0 was not. {_BOTH}",
                step=now.step,
                rank=self._rank,
            )
        return found[-1]

    def _require_all_judged(self, before: int) -> None:
        """Look whether rank 0 saves a step as the best that this rank has gone beyond."""
        self._is_heard(lambda word: False)
        missed = [v for v in self._word.verdicts if v.reason and self._judged < v.step <= before]
        if missed and not self._is_deaf:
            self._judged = before
            raise UsageError(
                f"Rank 0 saves step {missed[-1].step} as the {missed[-1].reason}, and rank "
                f"{self._rank} does not: it was given no such metric there. Nothing comes of that "
                f"save; checkpoints committed before are safe. {_BOTH}",
                step=missed[-1].step,
                rank=self._rank,
            )

    def _hear(self, is_enough: Callable[[Word], bool]) -> bool:
        """Read the words of rank 0 until they are enough; say whether they are."""
        if self._is_heard(is_enough):
            self._is_deaf = False
            return True
        if self._is_deaf:
            return False
        patience_s = self._patience_s
        if self._asked is not None:
            patience_s = min(patience_s, self._asked_s + LEAVE_AFTER_S - time.monotonic())
        self._board.wait(lambda text: is_enough(agreed.word_of(text)), patience_s)
        if self._is_heard(is_enough):
            return True
        # Not for each of the steps to come; the saves of this rank may not be those of others now,
        # and then come to nothing.
        self._is_deaf = True
        _log.warning(
            "Rank %d has heard nothing from rank 0 about what to save, and goes on; saves by "
            "clocks, signals and metrics may be missed. Checkpoints committed before are safe.",
            self._rank,
        )
        return False

    def _is_heard(self, is_enough: Callable[[Word], bool]) -> bool:
        if is_enough(self._word):
            return True
        text = self._board.found
        if text is None or text == self._text:
            return False
        self._word, self._text = agreed.word_of(text), text
        return is_enough(self._word)

    def _ask(self, now: Moment) -> None:
        """Ask rank 0 for a save where a signal came here; again until it is called for."""
        now_s = time.monotonic()
        came = tuple(number for number in now.signals if number in self._parts.led.signals)
        if came:
            known = self._asked.signals if self._asked is not None else ()
            if self._asked is None:
                self._asked_s = now_s
            self._asked = Ask(self._rank, now.step, tuple(dict.fromkeys((*known, *came))))
            self._told_s = 0.0
        if self._asked is not None and now_s - self._told_s > _ASK_AGAIN_S:
            # What another rank asks is written in the same place.
            self._told_s = now_s
            self._board.write(agreed.to_text(self._asked))

    def _must_leave(self) -> bool:
        """Say whether a signal has waited for so long that this rank leaves without a save."""
        assert self._asked is not None
        if time.monotonic() - self._asked_s < LEAVE_AFTER_S:
            return False
        _log.error(
            "Rank 0 has not answered a signal that rank %d got %.0f s ago: nothing is saved for "
            "it. Checkpoints committed before are safe.",
            self._rank,
            LEAVE_AFTER_S,
        )
        return True
