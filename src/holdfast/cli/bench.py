"""``holdfast bench``: speed here, beside the physical limits and the peers that are installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.tables import Cell, Column, Styled
from holdfast.errors import UsageError
from holdfast.wording.jsonable import jsonable
from holdfast.wording.numbers import bytes_text, plural

if TYPE_CHECKING:
    from holdfast.bench import BenchResult, Check

EXAMPLE = "holdfast bench --quick --output bench.json"

_QUICK_SIZE_MB, _QUICK_ROUNDS = 150, 2


def bench(
    size_mb: Annotated[
        float | None,
        typer.Option(
            metavar="MB",
            min=1,
            help="Size of the state.",
            show_default="1500, GPT-2 small with Adam",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How often to measure all.", show_default="5"),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            file_okay=False,
            exists=True,
            help="Where to write; removed afterwards.",
            show_default="the current folder",
        ),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Measure other tools as well.")
    ] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small state and few rounds: less exact.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", dir_okay=False, help="Also write the JSON to this file."
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Measure saving and restoring beside limits and peers.

    All that it writes is removed again; it needs several times the size of the state.
    """
    from holdfast.bench import BenchOptions, run
    from holdfast.bench.result import DEFAULT_SIZE_MB

    defaults = BenchOptions()
    wanted = BenchOptions(
        directory=directory,
        size_mb=size_mb or (_QUICK_SIZE_MB if quick else DEFAULT_SIZE_MB),
        rounds=rounds or (_QUICK_ROUNDS if quick else defaults.rounds),
        peers=peers,
    )
    _refuse_unwritable(file)
    result = run(wanted, output.notice)
    if as_json:
        output.result_json(result.to_json())
    else:
        _show(result)
    if file is not None:  # Last, so that a file that cannot be written loses no result.
        file.write_text(json.dumps(jsonable(result.to_json()), indent=2) + "\n")
    return 0


def _refuse_unwritable(file: Path | None) -> None:
    if file is not None and not file.absolute().parent.is_dir():
        raise UsageError(
            f"The folder of --output '{file}' does not exist. Nothing was measured.", path=str(file)
        )


def _show(result: BenchResult) -> None:
    output.say(
        Styled("medians", "bold"),
        f" of {plural(result.rounds, 'round')}, state of {bytes_text(result.state_bytes)} in "
        f"{plural(result.n_tensors, 'tensor')}",
    )
    output.say()
    head, *rows = result.table()
    subject, *figures = head
    columns = [Column(subject or "subject", may_wrap=True)]
    output.table(columns + [Column(figure, right=True) for figure in figures], rows)
    if result.details():
        output.say()
        output.facts(result.details())
    if result.checks:
        output.say()
        _show_checks(result.checks)
    for reason in result.absent:
        output.say("not measured: ", reason)


def _show_checks(checks: tuple[Check, ...]) -> None:
    columns = [
        Column("verdict"),
        Column("promise", may_wrap=True),
        Column("wanted", may_wrap=True),
        Column("found", right=True),
        Column("from", may_wrap=True, style="dim"),
    ]
    rows: list[list[Cell]] = [
        [
            Styled("kept", "green") if check.ok else Styled("missed", "bold red"),
            check.name,
            check.target,
            f"{check.measured:.3g}",
            check.figures,
        ]
        for check in checks
    ]
    output.table(columns, rows)
    kept = sum(check.ok for check in checks)
    output.say(f"{kept} of {plural(len(checks), 'promise')} kept here")
