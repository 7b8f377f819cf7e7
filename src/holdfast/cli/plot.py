"""``holdfast plot``: metrics of a run and how its layers moved, in the terminal or a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import charts, options, output
from holdfast.cli.tables import Cell, Column, Styled
from holdfast.wording.numbers import (
    bytes_text,
    metric_text,
    mode_of,
    plural,
)

if TYPE_CHECKING:
    from holdfast.history.layers import LayersOverTime
    from holdfast.history.run_picture import Panel, RunPicture

EXAMPLE = "holdfast --store ckpts plot gpt2-small --metric loss --out loss.png"

# Piped, there is no width to keep to.
_WIDEST = 120
_PIPED = 80


def plot(
    context: typer.Context,
    run: options.Run,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="M", help="Only this metric and its partner; several are taken."),
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
    """Plot a run's metrics, its checkpoints, and where it began to over-fit or diverge."""
    if out is not None:
        from holdfast.pictures.files import check_picture

        check_picture(out)
    if layers is None:
        _plot_metrics(context, run, metric or [], out, as_json)
    else:
        _plot_layers(context, run, layers, depth, out, as_json)
    if out is not None and not as_json:
        output.say(f"Drawn into {out}.")
    return 0


def _plot_metrics(
    context: typer.Context, run: str, metrics: list[str], out: str | None, as_json: bool
) -> None:
    from holdfast.history.run_picture import picture_of

    store = options.open_store(context)
    shown = picture_of(run, store.curves(run), store.log(run), metrics, mode_of)
    if out is not None:
        from holdfast.pictures.metrics import draw_run

        draw_run(shown, out)
    if as_json:
        output.result_json(shown)
    elif out is None:
        for number, panel in enumerate(shown.panels):
            if number:
                output.say()
            _show_panel(panel, shown)


def _show_panel(panel: Panel, shown: RunPicture) -> None:
    for line in charts.chart(panel, shown.checkpoint_steps, _width(), _marks()):
        output.say(*line)
    name = list(panel.curves)[-1]
    if panel.best is not None:
        step, value = panel.best
        where = f"{shown.run}@{step}" if step in shown.checkpoint_steps else f"step {step}"
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
