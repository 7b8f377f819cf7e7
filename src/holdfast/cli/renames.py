"""``--renames``: the ready rules for names, to be used, or copied and changed."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import output


def _show(value: bool) -> None:
    if not value:
        return
    from holdfast.convert.ready_names import READY

    for ready in READY.values():
        output.say(f"{ready.name}  {ready.says}")
        for rule in ready.rules:
            output.say(f"    --rename '{rule}'")
    raise typer.Exit


Renames = Annotated[
    bool,
    typer.Option(
        "--renames", callback=_show, is_eager=True, help="Show the ready rules for names."
    ),
]
