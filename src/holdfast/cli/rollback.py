"""``holdfast rollback``: let the next start of a run go on from an older checkpoint."""

from __future__ import annotations

import typer

from holdfast.cli import checkpoints, options, output

EXAMPLE = "holdfast --store ckpts rollback gpt2-small@best:val_loss"


def rollback(context: typer.Context, ref: options.Ref, as_json: options.Json = False) -> int:
    """Make an older checkpoint the newest of its run again.

    Nothing is removed. A process that is training goes back by ckpt.rollback() instead.
    """
    store = options.open_store(context, sign=options.named_signer(context))
    source = store.info(ref)
    made = store.rollback(ref)
    if as_json:
        output.result_json(checkpoints.as_json(made))
    else:
        output.say(f"{source.ref} is the newest of {made.run} again (commit {made.seq}).")
    return 0
