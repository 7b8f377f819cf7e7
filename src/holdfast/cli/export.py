"""``holdfast export``: a checkpoint in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import completion, options, output
from holdfast.cli.renames import Renames
from holdfast.errors import UsageError
from holdfast.wording.numbers import bytes_text, plural

if TYPE_CHECKING:
    from holdfast.convert.exporting import ExportReport
    from holdfast.convert.tensorboard import MetricsReport

EXAMPLE = (
    "holdfast --store ckpts export gpt2@best:loss model.safetensors --format safetensors --root "
    "model"
)


def export(
    context: typer.Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="The checkpoint; for tensorboard the run.",
            autocompletion=completion.refs,
        ),
    ],
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
        typer.Option(
            metavar="PATTERN=NEW", help="A rule for names, a regular expression; or a ready one."
        ),
    ] = None,
    renames: Renames = False,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What the format can do besides."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace a file, or a folder of this format.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Write a checkpoint in another tool's format, and read it back."""
    from holdfast.cli.progress import ByteBar
    from holdfast.convert import export as write
    from holdfast.convert import tensorboard

    store = options.open_store(context)
    if format == tensorboard.NAME:
        if root is not None or option:
            raise UsageError("--root and --option say nothing to tensorboard, which gets metrics.")
        told = tensorboard.export_metrics(
            store,
            ref,
            path,
            only=only or None,
            skip=skip or None,
            rename=rename or (),
            overwrite=overwrite,
        )
        return _tell_metrics(told, as_json)
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
    if store.is_encrypted:
        output.notice(f"{report.path} is not encrypted, as the store is that it came from.")
    return _tell(report, as_json)


def _tell(report: ExportReport, as_json: bool) -> int:
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


def _tell_metrics(report: MetricsReport, as_json: bool) -> int:
    if as_json:
        output.result_json(
            {
                "run": report.run,
                "path": report.path,
                "format": "tensorboard",
                "files": report.files,
                "bytes": report.nbytes,
                "metrics": report.names,
                "values": report.n_values,
                "marks": report.n_marks,
            }
        )
        return 0
    output.say(
        f"{report.run} is in {report.path}: {plural(report.n_values, 'value')} of "
        f"{plural(len(report.names), 'metric')}, {plural(report.n_marks, 'mark')}, read back."
    )
    return 0
