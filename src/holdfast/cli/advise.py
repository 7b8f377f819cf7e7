"""``holdfast advise``: the interval to use, by a run's own costs and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.tables import Cell, Column, Styled
from holdfast.errors import UsageError
from holdfast.wording.numbers import bytes_text, duration_text, plural, share_text

if TYPE_CHECKING:
    from holdfast.effectiveness.advise import Advice, Expected
    from holdfast.effectiveness.advise_tiers import TierAdvice

EXAMPLE = "holdfast --store ckpts advise gpt2-small --mtbf-hours 12"

_BOUNDS = {
    "disk": "no shorter: the store must keep up",
    "overhead": "no shorter: saves may not cost more",
    "budget": "no shorter: what is saved must fit into the budget, since none is removed",
}


def advise(
    context: typer.Context,
    run: options.Run,
    mtbf_hours: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Hours between failures that you expect; weighs as one."),
    ] = None,
    max_overhead: Annotated[
        float | None, typer.Option(help="The share of the time that saves may cost, such as 0.01.")
    ] = None,
    budget_gb: Annotated[
        float | None, typer.Option(min=0.0, help="What checkpoints may take, in GB.")
    ] = None,
    train_hours: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Hours still to train, which the budget must last for."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Say how often a run should save, and why."""
    if train_hours is not None and budget_gb is None:
        raise UsageError("--train-hours says what a budget must last for: give --budget-gb, too.")
    found = options.open_store(context).advise(
        run,
        mtbf_hours=mtbf_hours,
        max_overhead=max_overhead,
        budget_bytes=options.bytes_of(budget_gb, "--budget-gb"),
        train_hours=train_hours,
    )
    if as_json:
        output.result_json(found)
    else:
        _show(found)
    return 0


def _show(found: Advice) -> None:
    output.say(
        Styled(f"Save every {duration_text(found.interval_s)}", "bold"),
        f" of training, or every {plural(found.steps, 'step')}",
        f": {_BOUNDS[found.bounded_by]}" if found.bounded_by else "",
    )
    output.say()
    output.facts(_measured(found))
    output.say()
    columns = [Column("interval by"), Column("", right=True)]
    output.table(
        columns,
        [
            ["Young, √(2 C M)", duration_text(found.young_s)],
            ["Daly, higher order", duration_text(found.daly_s)],
            ["exact, exponential failures", duration_text(found.exact_s)],
            ["simulation, over what is believed", duration_text(found.simulated_s)],
        ],
    )
    output.say()
    columns = [
        Column("expected ETTR"),
        Column("interval", right=True),
        Column("mean", right=True),
        Column("5 % to 95 %", right=True),
    ]
    rows = [_expected("as advised", found.advised)]
    if found.used is not None:
        rows.append(_expected("as it was", found.used))
    output.table(columns, rows)
    if found.tiers:
        output.say()
        columns = [
            Column("other tiers"),
            Column("interval", right=True),
            Column("steps", right=True),
            Column("one takes", right=True),
        ]
        output.table(columns, [_tier(tier) for tier in found.tiers])


def _tier(tier: TierAdvice) -> list[str]:
    name = tier.tier if tier.is_measured else f"{tier.tier}, if you use it"
    return [name, duration_text(tier.interval_s), f"{tier.steps:,}", duration_text(tier.takes_s)]


def _held(found: Advice, fitting: int) -> str:
    if fitting < 1:
        return "not even one checkpoint"
    if fitting < 2:
        return "one checkpoint, and no new one beside it: a save needs room for two"
    # The new one is there before the old one goes.
    held = f"keep.last({fitting}), or {fitting - 1} while a save is under way"
    if found.measured.removes:
        return f"{held}; the run removes what is old by itself"
    if not found.coming:
        return f"{held}; used up: nothing is removed"
    return f"{held}; filled after {duration_text(found.filled_s or 0.0)} as nothing is removed"


def _expected(name: str, expected: Expected) -> list[str]:
    ettr = expected.ettr
    return [
        name,
        duration_text(expected.interval_s),
        share_text(ettr.mean),
        f"{share_text(ettr.p05)} to {share_text(ettr.p95)}",
    ]


def _measured(found: Advice) -> list[tuple[str, Cell]]:
    measured, costs = found.measured, found.measured.costs
    prior = f"{found.prior_shape:g} in {duration_text(found.prior_watched_s)}"
    pairs: list[tuple[str, Cell]] = [
        (
            "a save costs",
            f"{duration_text(costs.paid_s)}, held {duration_text(costs.held_s)}; "
            f"durable {duration_text(costs.durable_s)} later",
        ),
        ("a restart", duration_text(measured.restart_s)),
        (
            "failures",
            f"{measured.failures:,} in {duration_text(measured.watched_s)}; prior: {prior}",
        ),
        (
            "between two",
            f"{duration_text(found.mtbf_s)}; 90 % sure of {duration_text(found.mtbf_low_s)} "
            f"to {duration_text(found.mtbf_high_s)}",
        ),
        ("written", f"{bytes_text(round(found.stored_bytes_per_day))} a day before retention"),
    ]
    if found.fitting is not None:
        pairs.append(("the budget holds", _held(found, found.fitting)))
    return pairs
