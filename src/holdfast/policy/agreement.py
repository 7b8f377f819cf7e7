"""How ranks that train together save the same steps, where only rank 0 knows that a save is due.

Clocks, signals and costs are not the same on every rank. Rank 0 decides, and says so in a *word*
that the others read when they can: no rank answers, and none is waited for by rank 0.

A word says up to which step the way is *clear*: whatever rank 0 calls for from now on, it is for a
later step. No rank goes beyond a step that it does not know to be clear. So rank 0 calls for a save
at the first step that it has not said to be clear: no rank can be past it, and each that comes to
it has read the word that says so. A word that comes late makes ranks wait, not differ.

The way is said to be clear some steps ahead, as many as take a second, so that ranks seldom wait.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

# A second ahead: the words that rank 0 has to write then are few, whatever a step takes.
LEAD_S = 1.0
# Steps as long as that are not said to be clear before rank 0 is there: a signal is answered at the
# end of the step, and to wait for the word costs nothing beside it.
LONG_STEP_S = 10.0
# Nobody is further behind: the saves of who is have been given up by the others.
CALLS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Call:
    """A save that all ranks are called to, at their first step from ``step`` on.

    ``signals`` are those that have asked for it.
    """

    step: int
    reason: str
    signals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rank 0 has found of the metrics of a step: a reason to save it, or none.

    ``versions`` are the sequences from which the checkpoint gets its next names.
    """

    step: int
    reason: str
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """What rank 0 says; the newest word has all that counts.

    Attributes:
        at: The step at which it was said.
        clear: Calls that are not in this word are for later steps than this one.
        calls: Those so far, oldest first; the oldest of many are left out.
        verdicts: Likewise.
    """

    at: int = -1
    clear: int = -1
    calls: tuple[Call, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What another rank asks rank 0 for: an answer to signals that came until a step."""

    rank: int
    step: int
    signals: tuple[int, ...]


def lead_steps(stride: int, call_s: float, lead_s: float = LEAD_S) -> int:
    """Return how far ahead the way is said to be clear, in steps.

    Args:
        stride: How many steps lie between two calls of rank 0.
        call_s: How many seconds do.
        lead_s: How many shall lie ahead.

    >>> [lead_steps(1, 0.02), lead_steps(1, 4.0), lead_steps(10, 4.0), lead_steps(1, 60.0)]
    [50, 1, 10, 0]
    """
    if call_s >= LONG_STEP_S:
        return 0
    return stride * max(1, math.ceil(lead_s / max(call_s, 1e-6)))


def needs_extension(word: Word, at: int, lead: int) -> bool:
    """Say whether the way is to be said clear further on, since half of the lead is used up."""
    return 2 * (word.clear - at) <= lead


def extended(word: Word, at: int, lead: int) -> Word:
    """Return the word that says the way clear from where rank 0 is."""
    return replace(word, at=at, clear=max(word.clear, at + lead))


def called(word: Word, at: int, lead: int, reason: str, signals: tuple[int, ...] = ()) -> Word:
    """Return the word that calls for a save as soon as no rank can be past it."""
    call = Call(max(word.clear + 1, at), reason, signals)
    calls = (*word.calls, call)[-CALLS_KEPT:]
    return replace(word, at=at, clear=max(call.step, at + lead), calls=calls)


def judged(word: Word, verdict: Verdict) -> Word:
    """Return the word that tells what was found of the metrics of a step."""
    return replace(word, at=verdict.step, verdicts=(*word.verdicts, verdict)[-CALLS_KEPT:])


def calls_between(word: Word, before: int, step: int) -> tuple[Call, ...]:
    """Return the calls that a rank answers at a step, having answered those up to another."""
    return tuple(call for call in word.calls if before < call.step <= step)


def is_answered(ask: Ask, number: int, word: Word) -> bool:
    """Say whether a call for that signal is for a step that the asking rank saves yet."""
    return any(number in call.signals and call.step >= ask.step for call in word.calls)


def to_text(said: Word | Ask) -> str:
    """Return a word, or what is asked, as text."""
    return json.dumps(asdict(said), separators=(",", ":"))


def word_of(text: str) -> Word:
    """Return the word of ``to_text``."""
    said = json.loads(text)
    calls = tuple(Call(c["step"], c["reason"], tuple(c["signals"])) for c in said["calls"])
    verdicts = tuple(
        Verdict(v["step"], v["reason"], tuple(v["versions"])) for v in said["verdicts"]
    )
    return Word(said["at"], said["clear"], calls, verdicts)


def ask_of(text: str) -> Ask:
    """Return what is asked by a text of ``to_text``."""
    said = json.loads(text)
    return Ask(said["rank"], said["step"], tuple(said["signals"]))
