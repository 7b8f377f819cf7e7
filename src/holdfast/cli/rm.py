"""``holdfast rm``: remove one checkpoint."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import checkpoints, options, output
from holdfast.errors import ManifestDamaged, NotFound, UsageError
from holdfast.history import telling
from holdfast.wording.numbers import age_text, bytes_text

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo
    from holdfast.history.retention import PruneReport

EXAMPLE = "holdfast --store ckpts rm gpt2-small@400 --yes"


def rm(
    context: typer.Context,
    ref: options.Ref,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> int:
    """Remove a checkpoint, and the bytes that no other one needs."""
    store = options.open_store(context)
    try:
        info = store.info(ref)
    except (ManifestDamaged, NotFound):
        # One without its commit record is not listed, but can be given up.
        if not yes:
            raise
        return _removed(store.remove(ref), as_json)
    if not yes and not _agreed(info):
        output.notice("Nothing was removed.")
        return UsageError.exit_code
    if store.info(ref).id != info.id:
        raise UsageError(
            f"While the question stood, '{ref}' came to name another checkpoint than {info.ref}. "
            "Nothing was removed. Say the command again.",
            ref=ref,
        )
    return _removed(store.remove(ref), as_json)


def _removed(report: PruneReport, as_json: bool) -> int:
    ((info, _),) = report.removed
    if as_json:
        removed = checkpoints.as_json(info)
        output.result_json({"removed": [removed], "freed_bytes": report.freed_bytes})
    else:
        output.say(f"removed {info.ref}, {bytes_text(report.freed_bytes)} freed")
    return 0


def _agreed(info: CheckpointInfo) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"There is no terminal to ask whether {info.ref} is to be removed. Nothing was "
            "removed. Say --yes to remove it without being asked.",
            ref=info.ref,
        )
    output.notice("remove ", info.ref, f", {', '.join(_known(info))}")
    output.stderr().print("Its bytes cannot be had back. Remove it? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _known(info: CheckpointInfo) -> list[str]:
    found = [
        f"saved {age_text(info.created, datetime.now(UTC))}",
        bytes_text(info.state_bytes),
        telling.metrics_text(info.metrics),
        f"tagged {', '.join(info.tags)}" if info.tags else "",
    ]
    return [part for part in found if part]
