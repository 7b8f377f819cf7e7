"""``holdfast export``: a checkpoint in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.numbers import bytes_text, plural

EXAMPLE = (
    "holdfast --store ckpts export gpt2@best:loss model.safetensors --format safetensors --root "
    "model"
)


def export(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="The checkpoint.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file or folder to make.", show_default=False)
    ],
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="F", help="The format to write.")
    ],
    root: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="The node below which names begin, such as model."),
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
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What the format can do besides."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
    as_json: options.Json = False,
) -> int:
    """Write a checkpoint in another tool's format, and read it back."""
    from holdfast.cli.progress import ByteBar
    from holdfast.convert import export as write

    store = options.open_store(context)
    with ByteBar("exporting") as bar:
        report = write(
            store,
            ref,
            path,
            format=format,
            root=root,
            only=only or None,
            skip=skip or None,
            rename=rename or (),
            overwrite=overwrite,
            options=options.named_values(option or ()),
            progress=bar,
        )
    if as_json:
        output.result_json(
            {
                "ref": report.ref,
                "path": report.path,
                "format": report.format,
                "files": report.files,
                "bytes": report.nbytes,
                "arrays": report.n_arrays,
                "left_out": report.left_out,
                "changed": report.notes,
            }
        )
        return 0
    output.say(
        f"{report.ref} is in {report.path}: {plural(report.n_arrays, 'array')}, "
        f"{bytes_text(report.nbytes)}, read back."
    )
    if report.left_out:
        shown = ", ".join(report.left_out[:5]) + (", …" if len(report.left_out) > 5 else "")
        output.say(
            f"{report.format} has no place for {plural(len(report.left_out), 'plain value')}: "
            f"{shown}"
        )
    output.say_first(report.notes)
    return 0
