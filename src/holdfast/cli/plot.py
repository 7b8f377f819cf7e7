"""``holdfast plot``: metrics of runs and how layers moved, in the terminal or a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import charts, completion, options, output
from holdfast.cli.tables import Cell, Column, Styled
from holdfast.errors import UsageError
from holdfast.wording.numbers import (
    bytes_text,
    metric_text,
    mode_of,
    plural,
)

if TYPE_CHECKING:
    from holdfast.history.layers import LayersOverTime
    from holdfast.history.run_picture import Panel, RunPicture
    from holdfast.history.runs_picture import RunsPicture

EXAMPLE = "holdfast --store ckpts plot gpt2-small --metric loss --out loss.png"

# Piped, there is no width to keep to.
_WIDEST = 120
_PIPED = 80


def plot(
    context: typer.Context,
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="The run. Several: each metric in one plot, with a curve for each run.",
            autocompletion=completion.runs,
        ),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="M",
            help="Only this metric, of one run with its partner; may be given several times.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Instead of metrics, how the tensors whose paths match moved from checkpoint to "
            "checkpoint, as 'model/**'. They are read.",
        ),
    ] = None,
    depth: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="So many components of a path make a layer."),
    ] = 3,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw into a .png or .svg file.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Plot a run's metrics, its checkpoints, and where it began to over-fit or diverge.

    Of several runs, the metrics side by side.
    """
    if layers is not None and len(run) > 1:
        raise UsageError("--layers is of one run; 'holdfast diff' compares layers of two.")
    if out is not None:
        from holdfast.pictures.files import check_picture

        check_picture(out)
    if layers is not None:
        _plot_layers(context, run[0], layers, depth, out, as_json)
    else:
        shown = _picture(context, run, metric or [])
        _plot_metrics(shown, out, as_json)
    if out is not None and not as_json:
        output.say(f"Drawn into {out}.")
    return 0


def _picture(
    context: typer.Context, runs: list[str], metrics: list[str]
) -> RunPicture | RunsPicture:
    from holdfast.history.run_picture import picture_of
    from holdfast.history.runs_picture import check_runs, runs_picture_of

    names = check_runs(runs)
    store = options.open_store(context)
    if len(names) == 1:
        return picture_of(names[0], store.curves(names[0]), store.log(names[0]), metrics, mode_of)
    curves = {run: store.curves(run) for run in names}
    return runs_picture_of(curves, {run: store.log(run) for run in names}, metrics, mode_of)


def _plot_metrics(shown: RunPicture | RunsPicture, out: str | None, as_json: bool) -> None:
    if out is not None:
        from holdfast.pictures.metrics import draw_metrics

        draw_metrics(shown, out)
    if as_json:
        output.result_json(shown)
    elif out is None:
        for number, panel in enumerate(shown.panels):
            if number:
                output.say()
            _show_panel(panel, shown)


def _show_panel(panel: Panel, shown: RunPicture | RunsPicture) -> None:
    several = len(shown.runs) > 1
    # Ticks of several runs in one row would be of none.
    saved = () if several else shown.saved_on(shown.runs[0])
    for line in charts.chart(panel, saved, _width(), _marks()):
        output.say(*line)
    if panel.best is not None and panel.best_of is not None:
        step, value = panel.best
        run, name = (panel.best_of, panel.title) if several else (shown.runs[0], panel.best_of)
        there = step in shown.saved_on(panel.best_of)
        where = f"{run}@{step}" if there else f"step {step}{' of ' + run if several else ''}"
        output.say(f"best {name}: {metric_text(value)} at {where}")
    for finding in panel.findings:
        output.say(Styled(f"{finding.kind}: ", "bold red"), f"{finding.text}.")


def _plot_layers(
    context: typer.Context, run: str, glob: str, depth: int, out: str | None, as_json: bool
) -> None:
    from holdfast.cli.progress import ByteBar
    from holdfast.history.layers import layers_over_time, newest_line

    store = options.open_store(context)
    with ByteBar("comparing") as bar:
        shown = layers_over_time(
            run,
            newest_line(store.log(run)),
            lambda a, b: store.diff(a.ref, b.ref, only=glob, progress=bar),
            depth,
        )
    if out is not None:
        from holdfast.pictures.heat import draw_layers

        draw_layers(shown, out)
    if as_json:
        output.result_json(shown)
    elif out is None:
        _show_layers(shown, glob)


def _show_layers(shown: LayersOverTime, glob: str) -> None:
    if not shown.layers:
        output.say(f"Nothing that matches '{glob}' changed in {shown.run}.")
        return
    known = [v for layer in shown.layers for v in layer.moved if 0 < v < math.inf]
    low, high = min(known, default=1.0), max(known, default=1.0)
    # One character for each checkpoint; the newest are shown where there is no room for all.
    room = max(8, _width() - 40)
    steps = shown.steps[1:][-room:]
    rows: list[list[Cell]] = [
        [
            layer.prefix,
            "".join(charts.shade(v, low, high, _marks()) for v in layer.moved[-len(steps) :]),
            metric_text(layer.moved[-1]),
            metric_text(layer.norms[-1]),
        ]
        for layer in shown.layers
    ]
    columns = [
        Column("layer", may_wrap=True),
        Column(f"moved, @{steps[0]} to @{steps[-1]}"),
        Column("last", right=True),
        Column("norm", right=True),
    ]
    output.table(columns, rows)
    output.say()
    scale = _marks().shades
    output.say(
        f"{scale[0]} not at all, {scale[1]} {metric_text(low)} to {scale[-1]} {metric_text(high)} "
        "of the norm, by its logarithm, since the checkpoint before"
    )
    if shown.n_frozen:
        output.say(f"{plural(shown.n_frozen, 'tensor')} never changed.")
    output.say(f"{bytes_text(shown.read_bytes)} read.")


def _marks() -> charts.Marks:
    return charts.UNICODE if output.speaks_unicode() else charts.ASCII


def _width() -> int:
    width = output.stdout().width
    return width if width <= _WIDEST else (_PIPED if not output.stdout().is_terminal else _WIDEST)
