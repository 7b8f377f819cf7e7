"""``holdfast copy``: a checkpoint to another folder or bucket, or into one file."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import checkpoints, options, output
from holdfast.wording.numbers import bytes_text

EXAMPLE = "holdfast --store ckpts copy gpt2-small@best:val_loss s3://bucket/released"


def copy(
    context: typer.Context,
    ref: options.Ref,
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="A folder or s3://BUCKET/PREFIX; NAME.holdfast makes a bundle, one file.",
            show_default=False,
        ),
    ],
    as_json: options.Json = False,
) -> int:
    """Copy a checkpoint into another store, every chunk checked on the way.

    The store is made if it is not there. Chunks that its newest checkpoint has are not sent.
    """
    store = options.open_store(context)
    target = options.keyed_store(
        context, destination, sign=options.named_signer(context, destination)
    )
    copied = store.copy(ref, target)
    if as_json:
        output.result_json(checkpoints.as_json(copied) | {"store": target.place.path})
    else:
        output.say(
            f"{copied.ref} is now in {target.place.path} "
            f"({bytes_text(copied.stored_bytes)} written)."
        )
    if store.is_encrypted and not target.is_encrypted:
        output.notice("The copy is not encrypted, as the store is that it came from.")
    return 0
