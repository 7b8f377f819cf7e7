"""What a benchmark measured: frozen samples, checks, and their forms for people and machines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCHEMA = 1
DEFAULT_SIZE_MB = 1500
SECTIONS = ("speed", "training", "frozen", "small", "leaves", "memory")

LIMIT = "limit of this machine"
OURS = "holdfast"
OURS_FIRST = "holdfast, first save"
OURS_ZERO = "holdfast, zero stall"
OURS_SEALED = "holdfast, encrypted store"
TORCH = "torch.save + fsync"
TORCH_MMAP = "torch.save + fsync, tuned"
SAFETENSORS = "safetensors + fsync"
DCP = "dcp.save"
DCP_ASYNC = "dcp.async_save"
DCP_TUNED = "dcp.save, tuned"
DCP_ASYNC_TUNED = "dcp.async_save, tuned"

# What "tuned" means, told with every result that has such peers.
_TUNED = {
    TORCH_MMAP: "loads with mmap=True",
    DCP_TUNED: "writes with a thread per core",
    DCP_ASYNC_TUNED: "keeps its buffers, writes with a thread per core",
}

_COLUMNS = (
    ("loop held", "held_s"),
    ("durable", "durable_s"),
    ("restore warm", "warm_s"),
    ("restore cold", "cold_s"),
    ("training lost", "lost_s"),
)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure.

    Attributes:
        directory: Where to write; a temporary folder is made in it and removed afterwards. None
            means the current directory.
        size_mb: Size of the state; the default has the real shapes of GPT-2 small with Adam.
        rounds: How many times everything is measured, in a new order each time.
        peers: Whether other checkpointing tools are measured as well.
        sections: Which of `SECTIONS` to run.
    """

    directory: Path | None = None
    size_mb: float = DEFAULT_SIZE_MB
    rounds: int = 5
    peers: bool = True
    sections: Sequence[str] = SECTIONS


@dataclass(frozen=True, slots=True)
class Measurement:
    """All samples of one figure of one subject; the unit is the ending of the figure's name."""

    subject: str
    figure: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, what was measured for it, and whether it was kept.

    Attributes:
        name: What is promised.
        target: The promise in words, with its bound.
        measured: The ratio or amount, in the unit of the target.
        ok: Whether the bound holds.
        figures: The two amounts that the ratio was made of, for people.
    """

    name: str
    target: str
    measured: float
    ok: bool
    figures: str


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One run of the benchmark.

    Attributes:
        machine: Facts that a reader needs to compare; no host names and no paths.
        state_bytes: Size of the state that was saved.
        n_tensors: How many tensors it had.
        rounds: How many times each figure was measured.
        measurements: Every figure with all its samples.
        checks: The promises for which there were figures.
        absent: Peers that could not be measured, each with the reason.
    """

    machine: dict[str, object]
    state_bytes: int
    n_tensors: int
    rounds: int
    measurements: tuple[Measurement, ...]
    checks: tuple[Check, ...] = ()
    absent: tuple[str, ...] = ()
    _index: dict[tuple[str, str], Measurement] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        self._index.update({(m.subject, m.figure): m for m in self.measurements})

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def median(self, subject: str, figure: str) -> float | None:
        """Return the median of a figure, or None where it was not measured."""
        found = self._index.get((subject, figure))
        return None if found is None else found.median

    def table(self) -> list[tuple[str, ...]]:
        """Return one row per subject, times in its columns; the first row has the headings."""
        subjects = list(dict.fromkeys(m.subject for m in self.measurements))
        rows = [("", *(heading for heading, _ in _COLUMNS), "durable GB/s")]
        for subject in subjects:
            times = [self.median(subject, figure) for _, figure in _COLUMNS]
            if all(time is None for time in times):
                continue
            durable = self.median(subject, "durable_s")
            rate = "" if not durable else f"{self.state_bytes / durable / 1e9:.2f}"
            rows.append((subject, *(seconds(time) for time in times), rate))
        return rows

    def details(self) -> list[tuple[str, str]]:
        """Return what "tuned" means and the figures that are no column of the table."""
        columns = {figure for _, figure in _COLUMNS}
        subjects = {m.subject for m in self.measurements}
        tuned = [(name, words) for name, words in _TUNED.items() if name in subjects]
        return tuned + [
            (f"{m.subject}: {_words(m.figure)}", amount(m.median, m.figure))
            for m in self.measurements
            if m.figure not in columns
        ]

    def to_json(self) -> dict[str, object]:
        """Return everything as plain values that `json` can write."""
        return {
            "schema": SCHEMA,
            "machine": self.machine,
            "state_bytes": self.state_bytes,
            "n_tensors": self.n_tensors,
            "rounds": self.rounds,
            "ok": self.ok,
            "measurements": [
                {
                    "subject": m.subject,
                    "figure": m.figure,
                    "median": m.median,
                    "samples": list(m.samples),
                }
                for m in self.measurements
            ],
            "checks": [
                {
                    "name": c.name,
                    "target": c.target,
                    "measured": c.measured,
                    "ok": c.ok,
                    "figures": c.figures,
                }
                for c in self.checks
            ],
            "absent": list(self.absent),
        }


class Samples:
    """Collects samples while the benchmark runs; has one owner, the runner."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], list[float]] = {}

    def add(self, subject: str, **figures: float) -> None:
        """Add one sample to each of the named figures of a subject."""
        for figure, value in figures.items():
            self._samples.setdefault((subject, figure), []).append(value)

    def drop(self, subject: str) -> None:
        """Forget a subject that failed half-way."""
        self._samples = {key: value for key, value in self._samples.items() if key[0] != subject}

    def freeze(self, order: Iterable[str]) -> tuple[Measurement, ...]:
        """Return all measurements, subjects in the given order first."""
        places = {subject: place for place, subject in enumerate(order)}
        keys = sorted(self._samples, key=lambda key: places.get(key[0], len(places)))
        return tuple(Measurement(*key, samples=tuple(self._samples[key])) for key in keys)


def seconds(value: float | None) -> str:
    """Write a duration with three digits that matter; an empty text for None.

    >>> seconds(0.0834), seconds(1.5), seconds(None)
    ('83.4 ms', '1.50 s', '')
    """
    if value is None:
        return ""
    return f"{value * 1e3:.1f} ms" if abs(value) < 1 else f"{value:.2f} s"


def amount(value: float, figure: str) -> str:
    """Write a figure in the unit that its name ends in.

    >>> amount(0.5, "held_s"), amount(2e6, "manifest_bytes"), amount(3, "count")
    ('500.0 ms', '2.0 MB', '3')
    """
    if figure.endswith("_s"):
        return seconds(value)
    if figure.endswith("_bytes"):
        return f"{value / 1e6:.1f} MB"
    return f"{value:g}"


def _words(figure: str) -> str:
    return figure.removesuffix("_s").removesuffix("_bytes").replace("_", " ")
