"""``holdfast import``: another tool's file becomes a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import checkpoints, completion, options, output
from holdfast.cli.renames import Renames
from holdfast.errors import UsageError
from holdfast.wording.numbers import bytes_text

EXAMPLE = "holdfast --store ckpts import downloads/model.safetensors --run base --root model"


def import_(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file or folder.", show_default=False)
    ],
    run: Annotated[
        str,
        typer.Option(metavar="RUN", help="The run to save it in.", autocompletion=completion.runs),
    ],
    step: Annotated[
        int | None, typer.Option(metavar="N", help="Name of the checkpoint; 0 if left.")
    ] = None,
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
        typer.Option(
            metavar="PATTERN=NEW", help="A rule for names, a regular expression; or a ready one."
        ),
    ] = None,
    renames: Renames = False,
    unknown: Annotated[
        str,
        typer.Option(
            metavar="refuse|keep", help="What to do with objects of classes of their own."
        ),
    ] = "refuse",
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="A name to give it.")] = None,
    as_json: options.Json = False,
) -> int:
    """Save what another tool's file holds as a checkpoint; no code in it is run.

    A folder of checkpoints whose names tell their steps becomes a run of them.
    """
    from holdfast.cli.progress import ByteBar
    from holdfast.convert import import_checkpoint, import_series
    from holdfast.convert.series import series_in

    if unknown not in ("refuse", "keep"):
        raise UsageError(f"--unknown is 'refuse' or 'keep', not {unknown!r}.")
    store = options.open_store(context, sign=options.named_signer(context))
    notes = list[str]()
    series = bool(series_in(path))
    if series and (step is not None or tag is not None):
        raise UsageError(
            f"{str(path)!r} has several checkpoints, and the name of each tells its step. Leave "
            "--step and --tag out, or import one of them."
        )
    with ByteBar("importing") as bar:
        take = import_series if series else partial(import_checkpoint, step=step or 0, tag=tag)
        found = take(
            store,
            path,
            run=run,
            format=format,
            root=root,
            only=only or None,
            skip=skip or None,
            rename=rename or (),
            unknown="keep" if unknown == "keep" else "refuse",
            progress=bar,
            on_note=notes.append,
        )
    infos = found if isinstance(found, list) else [found]
    if as_json:
        shown = [checkpoints.as_json(info) for info in infos]
        told = {"checkpoints": shown} if series else shown[0]
        output.result_json({**told, "changed": notes})
        return 0
    for info in infos:
        output.say(f"{info.ref} is saved: {bytes_text(info.state_bytes)} of arrays.")
    output.say_first(notes)
    return 0
