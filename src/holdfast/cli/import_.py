"""``holdfast import``: another tool's file becomes a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import checkpoints, options, output
from holdfast.cli.numbers import bytes_text

EXAMPLE = "holdfast --store ckpts import downloads/model.safetensors --run base --root model"


def import_(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file or folder.", show_default=False)
    ],
    run: Annotated[str, typer.Option(metavar="RUN", help="The run to save it in.")],
    step: Annotated[int, typer.Option(metavar="N", help="Name of the checkpoint.")] = 0,
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="F", help="The format; found by looking if left."),
    ] = None,
    root: Annotated[
        str | None, typer.Option(metavar="NAME", help="A name to put everything under.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only leaves whose path matches.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="No leaves whose path matches.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN=NEW", help="A rule for names, a regular expression."),
    ] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="A name to give it.")] = None,
    as_json: options.Json = False,
) -> int:
    """Save what another tool's file holds as a checkpoint; no code in it is run."""
    from holdfast.convert import import_checkpoint

    info = import_checkpoint(
        options.open_store(context),
        path,
        run=run,
        step=step,
        format=format,
        root=root,
        only=only or None,
        skip=skip or None,
        rename=rename or (),
        tag=tag,
    )
    if as_json:
        output.result_json(checkpoints.as_json(info))
    else:
        output.say(f"{info.ref} is saved: {bytes_text(info.state_bytes)} of arrays.")
    return 0
