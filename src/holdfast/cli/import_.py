"""``holdfast import``: another tool's file becomes a checkpoint."""

from __future__ import annotations

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
    """Save what another tool's file holds as a checkpoint; no code in it is run."""
    from holdfast.cli.progress import ByteBar
    from holdfast.convert import import_checkpoint

    if unknown not in ("refuse", "keep"):
        raise UsageError(f"--unknown is 'refuse' or 'keep', not {unknown!r}.")
    store = options.open_store(context, sign=options.named_signer(context))
    notes = list[str]()
    with ByteBar("importing") as bar:
        info = import_checkpoint(
            store,
            path,
            run=run,
            step=step,
            format=format,
            root=root,
            only=only or None,
            skip=skip or None,
            rename=rename or (),
            unknown="keep" if unknown == "keep" else "refuse",
            tag=tag,
            progress=bar,
            on_note=notes.append,
        )
    if as_json:
        output.result_json({**checkpoints.as_json(info), "changed": notes})
        return 0
    output.say(f"{info.ref} is saved: {bytes_text(info.state_bytes)} of arrays.")
    output.say_first(notes)
    return 0
