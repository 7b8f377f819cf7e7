"""What a run of the script has done and left behind, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.drill.leaves import Saved
from holdfast.drill.series import Series
from holdfast.drill.trace import Trace

_LAST_WORDS = 12


@dataclass(frozen=True, slots=True)
class Life:
    """One start of the command.

    Attributes:
        status: Exit status; negative for the signal that ended it.
        seconds: How long it lived.
        lines: What it printed.
        trace: What was seen in its processes.
        struck: Whether what should happen to it did happen.
        had_checkpoint: Whether a checkpoint was there when it ended.
        timed_out: Whether it was ended because it took far too long.
        has_read: Whether it was seen to read a checkpoint that was there before it.
        kinds: What the checkpoints are called that were seen, without what counts them up.
        again: Those of them that it saved again and again.
    """

    status: int
    seconds: float
    lines: tuple[str, ...] = ()
    trace: Trace = field(default_factory=Trace)
    struck: bool = False
    had_checkpoint: bool = False
    timed_out: bool = False
    has_read: bool = False
    kinds: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()

    @property
    def last_words(self) -> tuple[str, ...]:
        """The last lines that say something."""
        return tuple([line for line in self.lines if line.strip()][-_LAST_WORDS:])


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen from outside while a life went on.

    Attributes:
        first_rows: Steps that were seen before there was a checkpoint of each kind that is saved
            again and again: a script with a best one and a last one goes on from one of them.
        first_lines: Lines that were printed by then.
        first_s: When that was.
        n_writes: How many times a checkpoint's file was new or changed.
        peak_bytes: The most that the folder took.
        effects: Names of effects on the store, in order, where they were counted.
        first_writes: Changes of checkpoints' files by then.
    """

    first_rows: int
    first_lines: int
    first_s: float
    n_writes: int
    peak_bytes: int
    effects: tuple[str, ...] = ()
    first_writes: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A run of the script from its begin to its end, in one life or several.

    Attributes:
        lives: Its lives, in order.
        saved: Its checkpoints and files of results, by what they are called.
        series: Its metrics, by source and name; from what was printed only the last life's.
    """

    lives: tuple[Life, ...]
    saved: Mapping[str, Saved] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)

    @property
    def last(self) -> Life:
        """The life that reached the end."""
        return self.lives[-1]
