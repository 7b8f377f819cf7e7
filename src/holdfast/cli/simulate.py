"""``holdfast simulate``: strategies tried on a model of failures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.tables import Column
from holdfast.errors import UsageError
from holdfast.wording.numbers import bytes_text, duration_text, share_text

if TYPE_CHECKING:
    from holdfast.effectiveness.comparing import Outcome
    from holdfast.effectiveness.scenario import Scenario

EXAMPLE = "holdfast simulate --days 54 --mtbf-hours 3.1 --cost-seconds 10 --restart-seconds 300"


# What goes with a file of a scenario; all else is said in it.
_BESIDE_CONFIG = {"config", "histories", "seed", "html", "as_json"}


def simulate(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A TOML file with [job] and [[strategy]] tables."),
    ] = None,
    days: Annotated[float, typer.Option(help="How long the run lasts.")] = 54.0,
    mtbf_hours: Annotated[float | None, typer.Option(help="Hours between failures.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Nodes, in place of --mtbf-hours.")] = None,
    per_node_day: Annotated[
        float | None, typer.Option(help="Failures of a node in a day; 0.0065 if not said.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Failures to replay, in their place.")
    ] = None,
    shape: Annotated[
        float | None, typer.Option(help="Of a Weibull distribution; below 1: early failures.")
    ] = None,
    preempt_every_hours: Annotated[
        float | None, typer.Option(help="A pre-emption on schedule as well.")
    ] = None,
    queue_minutes: Annotated[float, typer.Option(help="Mean wait before a restart.")] = 0.0,
    cost_seconds: Annotated[float, typer.Option(help="What training pays for a save.")] = 10.0,
    durable_seconds: Annotated[
        float, typer.Option(help="Until it is durable, in the background.")
    ] = 0.0,
    restart_seconds: Annotated[float, typer.Option(help="From failure to training.")] = 300.0,
    every_minutes: Annotated[
        list[float] | None, typer.Option(help="An interval to try; say it several times.")
    ] = None,
    histories: Annotated[int, typer.Option(min=1, help="How many histories.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same failures.")] = 0,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page with a plot, by itself."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Try strategies on a model of failures; nothing is saved, no store is needed."""
    from holdfast.effectiveness.comparing import compare

    if config is not None:
        _refuse_others(context, config)
        scenario = _from_file(config)
    else:
        job: dict[str, object] = {
            "days": days,
            "mtbf_hours": mtbf_hours,
            "nodes": nodes,
            "per_node_day": per_node_day,
            "trace": None if trace is None else str(trace),
            "shape": shape,
            "preempt_every_hours": preempt_every_hours,
            "queue_minutes": queue_minutes,
        }
        costs = {
            "cost_seconds": cost_seconds,
            "durable_seconds": durable_seconds,
            "restart_seconds": restart_seconds,
        }
        said = {name: value for name, value in job.items() if value is not None}
        scenario = _from_options(said, costs, every_minutes or [])
    outcomes = compare(scenario.job, scenario.strategies, count=histories, seed=seed)
    if html is not None:
        from holdfast.pages.simulate import simulate_page

        html.write_text(simulate_page(outcomes, scenario, histories), encoding="utf-8")
    if as_json:
        output.result_json(
            {
                "histories": histories,
                "seed": seed,
                "mtbf_s": scenario.mtbf_s,
                "strategies": outcomes,
            }
        )
        return 0
    _show(outcomes)
    output.say(f"failures: one in {duration_text(scenario.mtbf_s)} on average")
    if html is not None:
        output.say(f"written: {html}")
    return 0


def _refuse_others(context: typer.Context, config: Path) -> None:
    """Refuse options that a file of a scenario would pass over."""
    said = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in _BESIDE_CONFIG
        and (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    ]
    if said:
        raise UsageError(
            f"{', '.join(said)} beside --config: say it in {config}, which has job and strategies."
        )


def _from_file(config: Path) -> Scenario:
    from holdfast.effectiveness.scenario import parse_scenario

    # A trace that is named in it lies beside it.
    scenario = parse_scenario(
        _text(config), lambda name: _text(config.parent / name), what=str(config)
    )
    if not scenario.strategies:
        raise UsageError(f"{config} has no [[strategy]] table, so that there is nothing to try.")
    return scenario


def _from_options(
    job: dict[str, object], costs: dict[str, float], minutes: list[float]
) -> Scenario:
    from holdfast.effectiveness.comparing import usual_strategies
    from holdfast.effectiveness.scenario import Scenario, job_of, strategy_of

    made, mtbf_s = job_of(job, lambda name: _text(Path(name)))
    base = strategy_of({**costs, "formula": "best"}, mtbf_s)
    for interval in minutes:
        if not interval > 0.0:
            raise UsageError(f"--every-minutes is {interval}; it is above 0.")
    tried = usual_strategies(base, mtbf_s, [interval * 60.0 for interval in minutes])
    return Scenario(made, mtbf_s, tuple(tried))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: {error.reason}.") from error


def _show(outcomes: list[Outcome]) -> None:
    columns = [
        Column("strategy", may_wrap=True),
        Column("interval", right=True),
        Column("ETTR", right=True, style="bold"),
        Column("5 % to 95 %", right=True),
        Column("failures", right=True),
        Column("lost", right=True),
        Column("saves cost", right=True),
        Column("restarting", right=True),
        Column("stored", right=True),
    ]
    rows = [
        [
            outcome.name,
            duration_text(outcome.interval_s),
            share_text(outcome.ettr.mean),
            f"{share_text(outcome.ettr.p05)} to {share_text(outcome.ettr.p95)}",
            f"{outcome.n_failures:,.1f}",
            duration_text(outcome.lost_s.mean),
            duration_text(outcome.paid_s.mean),
            duration_text(outcome.restarting_s.mean),
            bytes_text(outcome.stored_bytes) if outcome.stored_bytes else "",
        ]
        for outcome in outcomes
    ]
    output.table(columns, rows)
    # What differs by less is chance; of equals the one that is called so.
    best = max(outcomes, key=lambda outcome: (round(outcome.ettr.mean, 3), outcome.name == "best"))
    output.say()
    output.say(f"best: {best.name}, every {duration_text(best.interval_s)}")
