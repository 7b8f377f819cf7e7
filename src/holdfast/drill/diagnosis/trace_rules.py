"""Rules that look at the first steps after a resume: what was not as it had been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from holdfast.drill.diagnosis.cause import Cause, listed
from holdfast.drill.diagnosis.evidence import LIBRARIES, Evidence, Rule, in_use
from holdfast.drill.trace import Moments, StepRow

# Steps after a resume in which each of several optimizers has had its first turn.
_FIRST_TURNS = 8


def _off_by_number(e: Evidence) -> Iterator[Cause]:
    """Yield that a script goes on with another step than the one that its ``Checkpointer`` said."""
    next_step = e.disturbed.last.trace.next_step
    first = e.found[0].step if e.found else None
    if next_step is None or first is None or e.disturbed.last.trace.kind != "c":
        return
    # Who does not tell of every step goes on with the next one that is told.
    due = (row.step for row in e.all_expected if row.step is not None and row.step >= next_step)
    gap = min(due, default=first) - first
    if gap:
        off = "step off by one" if abs(gap) == 1 else f"step off by {abs(gap)}"
        how = "done twice" if gap > 0 else "left out"
        yield Cause(
            "step",
            f"{off}: the checkpoint goes on with step {first + gap}, the script with step {first}, "
            f"so {'one step is' if abs(gap) == 1 else f'{abs(gap)} steps are'} {how}",
            first,
        )


def _off_by(e: Evidence) -> Iterator[Cause]:
    yield from _off_by_number(e)
    if e.at is None or e.by_weights is None or e.by_weights == e.at or is_stale(e):
        return
    gap = e.by_weights - e.at
    if gap > 1 and _rewound(e) is not None:
        return  # The position in the data was lost: another rule.
    steps = "one step is" if abs(gap) == 1 else f"{abs(gap)} steps are"
    how = "done twice" if gap > 0 else "left out"
    off = "step off by one" if abs(gap) == 1 else f"step off by {abs(gap)}"
    yield Cause(
        "step",
        f"{off}: the weights are those after {e.by_weights} steps, but {len(e.found)} of "
        f"{len(e.all_expected)} steps are done after the resume, so {steps} {how}",
        e.at,
    )


def is_stale(e: Evidence) -> bool:
    """Say whether weights are older than the moments that were saved with them."""
    if e.at is None or e.by_weights is None or not 0 <= e.at < len(e.all_expected):
        return False
    expected, found = e.all_expected[e.at].moments, e.found[0].moments
    return bool(found) and e.by_weights != e.at and expected == found


def _stale(e: Evidence) -> Iterator[Cause]:
    if is_stale(e):
        yield Cause(
            "stale",
            f"a stale buffer was saved: the weights are those of step {e.by_weights}, the "
            f"optimizer's state that of step {e.at}",
            e.at,
        )
        return
    if not e.expected or not e.found:
        return
    expected, found = e.expected[0].model, e.found[0].model
    by_step: dict[int | None, list[str]] = {}
    for name in expected.keys() & found.keys():
        if expected[name] != found[name]:
            value = found[name]
            at = e.earlier(value, lambda row, name=name: row.model.get(name, ""))  # type: ignore[misc]
            by_step.setdefault(at, []).append(name)
    for at, names in by_step.items():
        what = listed(sorted(names))
        if at is None:
            words = f"{what} not restored as saved: the values are none that the run ever had there"
        elif at == 0:
            words = f"{what} not restored: the values are those of the beginning"
        else:
            words = (
                f"a stale buffer was saved: {what} comes back as it was at step {at}, not {e.start}"
            )
        yield Cause("stale" if at else "weights", words, e.start)


def _tied(e: Evidence) -> Iterator[Cause]:
    if not e.expected or not e.found:
        return
    for group in e.expected[0].ties - e.found[0].ties:
        words = f"tied weights broken: {' and '.join(sorted(group))} are one tensor no longer"
        yield Cause("tied", words, e.start)


def _moments(e: Evidence) -> Iterator[Cause]:
    if not e.expected or not e.found:
        return
    expected, found = e.expected[0].moments, e.found[0].moments
    lost = [n for n, m in expected.items() if n not in found or found[n].count < m.count]
    if lost:
        yield Cause(
            "moments", f"optimizer state not restored: {listed(sorted(lost))} begins anew", e.start
        )
    else:
        yield from _another_optimizer(e)
    for name in expected.keys() & found.keys() - set(lost):
        words = _changed_moments(e, name, expected[name], found[name])
        if words:
            yield Cause("moments", words, e.start)


def _another_optimizer(e: Evidence) -> Iterator[Cause]:
    """Yield that one of several optimizers, which take turns, begins with nothing."""
    rows = list(zip(e.expected, e.found, strict=False))[1:_FIRST_TURNS]
    for at, (one, other) in enumerate(rows, 2):
        if one.moments and not other.moments:
            yield Cause(
                "moments",
                f"state of another optimizer not restored: {listed(sorted(one.moments))} begins "
                f"anew in step {at} of an optimizer after the resume",
                e.start,
            )
            return


def _changed_moments(e: Evidence, name: str, one: Moments, other: Moments) -> str | None:
    """Return how one name of the optimizer's state is another after the resume, if it is."""
    if one.digest == other.digest and one.dtypes == other.dtypes:
        return None
    if one.dtypes != other.dtypes:
        return (
            f"optimizer moments cast: {name} is {' and '.join(other.dtypes)} after the resume, "
            f"{' and '.join(one.dtypes)} before"
        )
    if one.rounded is None and other.rounded is not None:
        return (
            f"optimizer moments cast: all values of {name} are rounded to {other.rounded} after "
            "the resume"
        )
    if not is_stale(e) and e.by_weights is not None:
        return f"optimizer state not restored as saved: {name} has other values"
    return None


def _schedule(e: Evidence) -> Iterator[Cause]:
    after = e.first(lambda row: row.settings)
    if after is None:
        return
    if after == 0 and e.expected[0].moments and not e.found[0].moments:
        return  # The whole optimizer began anew, its settings with it: another rule.
    for one, other in zip(e.expected[after].settings, e.found[after].settings, strict=False):
        for name in one.keys() & other.keys():
            if one[name] != other[name]:
                is_rate = name in ("lr", "momentum", "beta1")
                what = "scheduler not in the state" if is_rate else "optimizer settings"
                label = "learning rate" if name == "lr" else name
                yield Cause(
                    "scheduler",
                    f"{what}: {label} is {other[name]:.6g} instead of {one[name]:.6g} "
                    f"from step {e.step_name(after)}",
                    e.step_name(after),
                )
                return


def _generators(e: Evidence) -> Iterator[Cause]:
    if any(_off_by_number(e)):
        return  # They stand where the step stands that should have followed.
    begins = [e.first(lambda row, lib=lib: row.rng.get(lib)) for lib in LIBRARIES]  # type: ignore[misc]
    first = min((at for at in begins if at is not None), default=None)
    for library, after in zip(LIBRARIES, begins, strict=True):
        if after is None or after != first or not in_use(e.all_expected, library):
            continue
        name, step = LIBRARIES[library], e.step_name(after)
        inputs = e.first(lambda row: row.inputs)
        if not e.has_generator(library):
            what = "random draws differ" if inputs is None else "data order differs"
            step = step if inputs is None else e.step_name(inputs)
            yield Cause("rng", f"RNG of {name} not in the state: {what} from step {step}", step)
        # Where other data came first, the loader has drawn from it at another time.
        elif _begins_anew(e, library):
            yield Cause(
                "rng",
                f"RNG of {name} is in the checkpoint, but not put back: at step {step} it stands "
                "as at the very beginning",
                step,
            )
        elif _shared(e, library) is None and (inputs is None or after < inputs):
            yield Cause(
                "rng",
                f"RNG of {name} is in the checkpoint, but stands elsewhere at step {step}: it "
                "is not put back, or drawn from before training goes on",
                step,
            )


def _begins_anew(e: Evidence, library: str) -> bool:
    """Say whether a generator stands, at the first step, where it stood at the run's first one."""
    if not e.start or not e.found or library not in e.found[0].rng:
        return False
    return e.found[0].rng[library] == e.all_expected[0].rng.get(library)


def _loader(e: Evidence) -> Iterator[Cause]:
    after = e.first(lambda row: row.inputs)
    if after is None:
        return
    if any(cause.rule == "rng" and "not in the state" in cause.words for cause in _generators(e)):
        return
    if any(_off_by(e)):
        return
    step, rewound = e.step_name(after), _rewound(e)
    anew = (lib for lib in LIBRARIES if in_use(e.all_expected, lib) and _begins_anew(e, lib))
    if rewound is None and any(anew):
        return  # The same samples, augmented with other draws.
    counted = _twice(e)
    trained = e.first(lambda row: (row.params, row.grads))
    if counted.endswith("others than before") and trained is not None and trained < after:
        return  # What one model makes of other weights, and hands to the next one.
    if rewound is not None and after == 0:
        yield Cause(
            "loader",
            f"loader position lost: {counted or 'the order differs'}; after the resume it goes on "
            f"with the data of step {rewound}, not {e.start}",
            step,
        )
    elif counted:
        yield Cause("loader", f"loader position lost: {counted}, from step {step} on", step)
    else:
        yield Cause(
            "loader",
            f"data order differs from step {step}: the same samples in another order, or other "
            "augmentation",
            step,
        )


def _rewound(e: Evidence) -> int | None:
    """Return the earlier step whose data the last life began with."""
    inputs = e.found[0].inputs if e.found else ()
    if not inputs or (e.expected and e.expected[0].inputs == inputs):
        return None
    return e.earlier(inputs, lambda row: row.inputs)


def _twice(e: Evidence) -> str:
    """Count the samples that were seen more often, and less often, than without a fault."""
    kept = e.all_expected[: e.start]
    expected = Counter(s for row in e.all_expected for s in row.inputs)
    found = Counter(s for row in (*kept, *e.found) for s in row.inputs)
    more, less = (found - expected).total(), (expected - found).total()
    if not more and not less:
        return ""
    unknown = sum(n for sample, n in found.items() if sample not in expected)
    if unknown == more and unknown:
        return f"{unknown} samples are others than before"
    words = f"{more} samples seen twice" if more else ""
    missing = f"{less} not seen at all" if less else ""
    return " and ".join(part for part in (words, missing) if part)


def _shared(e: Evidence, library: str) -> str | None:
    """Return a rank whose generator became that of rank 0."""
    trace, now = e.reference.last.trace, e.disturbed.last.trace
    for rank in now.steps:
        if rank == "0" or rank not in trace.steps or e.start >= len(trace.steps[rank]):
            continue
        before = trace.steps[rank][e.start].rng.get(library)
        after = now.steps[rank][0].rng.get(library)
        apart = before != trace.main[e.start].rng.get(library)
        if apart and after is not None and after == now.main[0].rng.get(library):
            return rank
    return None


def _ranks(e: Evidence) -> Iterator[Cause]:
    if not e.found or e.start >= len(e.all_expected):
        return
    for library, name in LIBRARIES.items():
        rank = _shared(e, library)
        if rank is not None:
            yield Cause(
                "ranks",
                f"per-rank RNG shared: after the resume rank {rank} has the generator of {name} "
                "that rank 0 has; each rank needs its own in the state",
                e.step_name(0),
            )


def _gradients(e: Evidence) -> Iterator[Cause]:
    parts = (_all_but_gradients, lambda row: row.grads)
    begins = [e.first(part) for part in parts]
    if begins[1] is not None and (begins[0] is None or begins[1] < begins[0]):
        step = e.step_name(begins[1])
        yield Cause(
            "gradients",
            f"the gradients differ at step {step}, though weights, data, generators and settings "
            "are the same: something else is not in the state (a scaler, a hidden state, a "
            "generator of its own), or a computation is not deterministic",
            step,
        )


def _all_but_gradients(row: StepRow) -> object:
    return (row.model, row.params, row.inputs, row.rng, row.settings, row.moments)


TRACE_RULES = (
    Rule("step", _off_by),
    Rule("stale", _stale),
    Rule("tied", _tied),
    Rule("moments", _moments),
    Rule("scheduler", _schedule),
    Rule("ranks", _ranks),
    Rule("rng", _generators),
    Rule("loader", _loader),
    Rule("gradients", _gradients),
)
