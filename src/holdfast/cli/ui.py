"""``holdfast ui``: the store as pages in a browser."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from holdfast.cli import options, output
from holdfast.errors import MissingDependency

EXAMPLE = "holdfast --store ckpts ui --port 8080"

_HIGHEST_PORT = 65535


def ui(
    context: typer.Context,
    port: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=_HIGHEST_PORT, help="Where to listen; 0: any that is free."
        ),
    ] = 0,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="The address to listen on. One that others can reach wants the token that is "
            "printed.",
        ),
    ] = "127.0.0.1",
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Tags, notes and removals may be made on the pages."),
    ] = False,
) -> int:
    """Show the store as pages in a browser: runs, checkpoints, differences, costs.

    It serves until Ctrl-C. Nothing can be changed unless --allow-changes is given.
    """
    try:
        from holdfast.web.server import listen, serve
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"The pages need {error.name!r}, which is not installed: pip install 'holdfast[ui]'.",
            package=str(error.name),
        ) from error
    store = options.open_store(context)
    store.runs()  # Trouble with the store is told here, not on every page.
    with closing(listen(host, port)) as listening:
        # On a line of its own, which nothing wraps: it is to be copied, or clicked on.
        output.say(listening.address)
        may = "Tags, notes and removals are allowed" if allow_changes else "Nothing can be changed"
        output.say(f"shows {store.path}. {may}. Ctrl-C ends it.")
        serve(store, listening, allow_changes=allow_changes)
    return 0
