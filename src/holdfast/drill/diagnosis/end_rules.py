"""Rules that look at the ends of two runs: which leaves and metrics differ while others do not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.drill.compare import LeafDifference, SeriesDifference
from holdfast.drill.diagnosis.cause import Cause, listed
from holdfast.drill.diagnosis.evidence import LIBRARIES, Evidence, Rule
from holdfast.drill.series import equal


@dataclass(frozen=True, slots=True)
class Pattern:
    """Leaves by the words in their paths, and what it means if they alone differ."""

    rule: str
    path: re.Pattern[str]
    words: str


def _pattern(rule: str, path: str, words: str) -> Pattern:
    return Pattern(rule, re.compile(path, re.IGNORECASE), words)


# The first that fits a leaf counts.
PATTERNS = (
    _pattern("best", r"(?<![a-z])best(?![a-z])", "'best' lost on resume"),
    _pattern(
        "ema", r"(?<![a-z])(ema|swa|averaged?|shadow|teacher)(?![a-z])", "EMA not in the state"
    ),
    _pattern("scaler", r"scaler|loss_scale", "gradient scaler not in the state"),
    _pattern("rng", r"@rng|rng|random|generator", "RNG not in the state"),
    _pattern(
        "scheduler", r"sched|(?<![a-z])lr(?![a-z])|learning_rate", "scheduler not in the state"
    ),
    _pattern("loader", r"loader|sampler|cursor|position", "loader position lost"),
    _pattern("moments", r"exp_avg|momentum|optim|velocity", "optimizer state not restored"),
    _pattern("step", r"(?<![a-z])(step|epoch|iteration|iter|it)s?(?![a-z])", "step off"),
)
# An array of texts is as wide as its longest.
_TEXTS = re.compile(r"np:[<>|]?[US]\d.*found np:[<>|]?[US]\d")
_COUNTS = re.compile(r"(-?\d+), found (-?\d+)")
_BY_RULE = {pattern.rule: pattern for pattern in PATTERNS}


def _changed_form(e: Evidence) -> Iterator[Cause]:
    for difference in e.difference.leaves:
        if difference.what == "untied":
            yield Cause("tied", f"tied weights broken: {difference.words}")
        elif (
            difference.what == "type"
            and "array" not in difference.words
            and not _TEXTS.search(difference.words)
        ):
            is_moment = _BY_RULE["moments"].path.search(difference.path)
            what = "optimizer moments cast" if is_moment else "cast"
            yield Cause("moments" if is_moment else "cast", f"{what}: {_told(difference)}")
            return


def _alone(e: Evidence) -> Iterator[Cause]:
    """Yield what the names of leaves tell, where other arrays are the same."""
    best = _BY_RULE["best"]
    missing = [name for name in e.difference.missing if best.path.search(name)]
    if missing:
        yield Cause("best", f"{best.words}: {listed(missing, '; ')} is not there")
    groups = _by_rule([d for d in e.difference.leaves if d.what != "untied"])
    if "" in groups or not e.difference.n_arrays_equal:
        return
    for rule, differences in groups.items():
        told = listed([_told(d) for d in differences], "; ")
        words = _BY_RULE[rule].words + (_off_by(differences) if rule == "step" else "")
        yield Cause(rule, f"{words}: {told}; all else is the same")


def _off_by(differences: Sequence[LeafDifference]) -> str:
    """Return by how much counters are off, where all are off by the same."""
    pairs = [_COUNTS.fullmatch(d.words) for d in differences]
    gaps = {abs(int(p[1]) - int(p[2])) if p is not None else 0 for p in pairs}
    if len(gaps) > 1 or 0 in gaps:
        return ""
    return " by one" if gaps == {1} else f" by {gaps.pop()}"


def _by_rule(differences: Iterable[LeafDifference]) -> dict[str, list[LeafDifference]]:
    """Return leaves by the rule whose pattern fits them first, those that fit none by no name."""
    groups: dict[str, list[LeafDifference]] = {}
    for difference in differences:
        where = f"{difference.saved}/{difference.path}"
        fits = next((p for p in PATTERNS if p.path.search(where)), None)
        groups.setdefault(fits.rule if fits else "", []).append(difference)
    counts = _BY_RULE["step"].path
    # The best checkpoint has the same counter, and is the same but for that.
    if "step" in groups and all(counts.search(d.path) for d in groups.get("best", ())):
        groups["step"] += groups.pop("best", [])
    return groups


def _metrics_alone(e: Evidence) -> Iterator[Cause]:
    """Yield metrics that differ while others do not."""
    names = {d.name for d in e.difference.series}
    same = {s.name for s in e.reference.series.values()} - names
    if not names or not same:
        return
    for pattern in PATTERNS:
        fits = [d for d in e.difference.series if pattern.path.search(_plain(d.name))]
        if fits and len(fits) == len(e.difference.series):
            first = fits[0]
            yield Cause(
                pattern.rule,
                f"{pattern.words}: {first.name} differs from step {first.step}, "
                f"{listed(sorted(same), '; ')} do not",
                first.step,
            )
            return


def _shared_by_ranks(e: Evidence) -> Iterator[Cause]:
    """Yield pairs of metrics that became one: of ranks that share a generator."""
    changed = {d.key for d in e.difference.series}
    expected, found = e.reference.series, e.disturbed.series
    keys = [k for k in expected if k in found and re.search(r"rank", k, re.IGNORECASE)]
    pairs = [(a, b) for a in keys for b in keys if a < b and {a, b} & changed]
    for one, other in pairs:
        since = _became_one(e, one, other)
        if since is not None:
            by_name = (expected[one].name, expected[other].name)
            # Each rank may have a log of its own, and call what it tells of the same.
            names = " and ".join(by_name if by_name[0] != by_name[1] else (one, other))
            yield Cause(
                "ranks",
                f"per-rank RNG shared: {names} are the same after the resume; each rank needs "
                "its own generator in the state",
                since,
            )
            return


def _became_one(e: Evidence, one: str, other: str) -> float | None:
    """Return since which step two metrics end the same that did not, None if they do not."""
    first, second = e.disturbed.series[one].values, e.disturbed.series[other].values
    before, beside = e.reference.series[one].values, e.reference.series[other].values
    steps = sorted(first.keys() & second.keys())[-2:]
    was = [equal(before.get(step, 0.0), beside.get(step, 1.0)) for step in steps]
    now = [equal(first[step], second[step]) for step in steps]
    return steps[0] if steps and all(now) and not any(was) else None


def _repeated(e: Evidence) -> Iterator[Cause]:
    """Yield metrics that, after the resume, run through an earlier part of their course."""
    for difference in e.difference.series:
        gap = _gap(e, difference)
        if gap:
            what = "step off by one" if abs(gap) == 1 else "loader position lost"
            yield Cause(
                "step" if abs(gap) == 1 else "loader",
                f"{what}: from step {difference.step} on {difference.name} is what it was "
                f"{abs(gap)} step(s) {'earlier' if gap > 0 else 'later'}",
                difference.step,
            )
            return


def _gap(e: Evidence, difference: SeriesDifference) -> int:
    """Return how many steps earlier a metric had the values that it has now; 0 if it never did."""
    expected = e.reference.series[difference.key].values
    found = e.disturbed.series[difference.key].values
    steps = sorted(expected)
    tail = [found[s] for s in steps if s >= difference.step and s in found][:5]
    # The same value again and again tells nothing.
    if len(set(tail)) < min(3, len(steps)) or len(tail) < 3:
        return 0
    at, values = steps.index(difference.step), [expected[s] for s in steps]
    begins = range(len(values) - len(tail) + 1)
    gaps = (at - begin for begin in begins if values[begin : begin + len(tail)] == tail)
    return next((gap for gap in gaps if gap), 0)


def _not_in_the_state(e: Evidence) -> Iterator[Cause]:
    """Yield what the checkpoint does not have: the last resort, where nothing was seen."""
    trace = e.reference.last.trace
    if trace.kind == "o" or not (e.difference.leaves or e.difference.series):
        return
    # Where steps were seen, so were the generators, and another rule tells of them.
    libraries = ("python", "numpy") if trace.kind is None else ()
    lacks = [f"RNG of {LIBRARIES[name]}" for name in libraries if not e.has_generator(name)]
    parts = (
        (e.has_position(), "position in the data", "loader position lost, it seems"),
        (
            e.has_moments(),
            "state of an optimizer, such as its momentum",
            "optimizer not in the state, it seems",
        ),
        (
            e.has_schedule(),
            "schedule of the learning rate",
            "scheduler not in the state, if the script has one",
        ),
    )
    lacks += [what for is_there, what, _ in parts if not is_there]
    where, step = "", None
    if e.difference.series:
        first = e.difference.series[0]
        step, where = first.step, f" from step {first.step} on ({first.name})"
    if lacks:
        likely = next((f"{says}: " for _, what, says in parts if [what] == lacks), "")
        words = f"{likely}the run differs{where}; the checkpoint has none of: {', '.join(lacks)}"
    elif trace.kind == "c":
        words = (
            f"the run differs{where}, though the generators that libraries share stand where they "
            "should: something else is not in the state, or does not come back as it was saved (a "
            "buffer that is copied at another time, a generator of its own)"
        )
    else:
        return
    yield Cause("state", words, step)


def _plain(name: str) -> str:
    """Return a metric's name without what it is counted by."""
    return name.partition(" by ")[0]


def _told(difference: LeafDifference) -> str:
    path = difference.path if difference.path != "bytes" else ""
    return f"{difference.saved}{': ' if path else ''}{path} ({difference.words})"


END_RULES = (
    Rule("form", _changed_form),
    Rule("ranks", _shared_by_ranks),
    Rule("repeated", _repeated),
    Rule("alone", _alone),
    Rule("metrics", _metrics_alone),
    Rule("state", _not_in_the_state),
)
