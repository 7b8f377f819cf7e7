"""``holdfast tag``: give a checkpoint a name that stays, or take it away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import checkpoints, options, output
from holdfast.errors import NotFound, UsageError

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo
    from holdfast.repository import Store

EXAMPLE = "holdfast --store ckpts tag gpt2-small@best:val_loss best_model_v1"


def tag(
    context: typer.Context,
    ref: options.Ref,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The tag; afterwards RUN@NAME is a ref.")
    ],
    fixed: Annotated[
        bool,
        typer.Option("--fixed", help="Give the name for good: it never moves, nor is taken away."),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", "-d", help="Take the tag away; the checkpoint stays.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Name a checkpoint, to find it and keep it by that name."""
    store = options.open_store(context)
    if delete and fixed:
        raise UsageError("--fixed gives a name and --delete takes one away; say one of them.")
    info = store.info(ref)
    if delete:
        _delete(store, info, name)
    else:
        store.tag(ref, name, fixed=fixed)
    if as_json:
        output.result_json(checkpoints.as_json(store.info(info.ref)))
    elif delete:
        output.say(f"{info.ref} is no longer tagged {name}")
    else:
        output.say(f"{info.run}@{name} is {info.ref}{', for good' if fixed else ''}")
    return 0


def _delete(store: Store, info: CheckpointInfo, name: str) -> None:
    if name not in info.tags:
        known = ", ".join(info.tags) or "none"
        raise NotFound(
            f"{info.ref} has no tag '{name}'; its tags: {known}. Nothing was changed.",
            ref=info.ref,
            tag=name,
        )
    store.untag(info.run, name)
