"""``holdfast demo``: train, be killed, resume, and prove that nothing was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import options, output
from holdfast.errors import DataError

EXAMPLE = "holdfast demo"

_STEPS = 600


def demo(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            file_okay=False,
            help="Make the store here and leave it, to look around in.",
            show_default="a temporary folder, removed afterwards",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps that each run trains.")
    ] = _STEPS,
    as_json: options.Json = False,
) -> int:
    """Train, be killed, resume, and prove that nothing was lost.

    A small network is trained on real images twice: once undisturbed, once with a SIGKILL in the
    middle and the same command again. In the end every bit of both states is compared; the exit
    status is 1 if any differs.
    """
    from holdfast.demo import DemoOptions, run

    say = output.notice if as_json else output.say
    result = run(DemoOptions(directory=directory, steps=steps), say)
    if as_json:
        output.result_json(result)
    return 0 if result.ok else DataError.exit_code
