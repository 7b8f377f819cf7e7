"""``holdfast prune``: keep what a policy wants of a run, remove the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import checkpoints, options, output
from holdfast.cli.tables import Column
from holdfast.wording.numbers import age_text, bytes_text, plural

if TYPE_CHECKING:
    from holdfast.history.retention import PruneReport

EXAMPLE = "holdfast --store ckpts prune gpt2-small --keep last:3 --keep best:val_loss:2 --dry-run"


def prune(
    context: typer.Context,
    run: options.Run,
    keep: Annotated[
        list[str],
        typer.Option(
            metavar="SPEC",
            help="What stays: last:3, best:val_loss:2, best:accuracy:2:max, every:1000steps, "
            "every:24h, every:1epoch, within:48h, thinning, tagged, and 'every:1h:within:1d' for "
            "young ones only. Say it several times: what any of them wants stays; with "
            "budget:200GB as much of that as fits.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only tell what would be removed.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Keep what a policy wants of a run, and remove the rest.

    It tells why each checkpoint stays or goes.
    """
    from holdfast.history.retention import united

    policy = united(keep)
    store = options.open_store(context)
    report = store.prune(run, policy, dry_run=dry_run)
    if as_json:
        output.result_json(_as_json(run, report))
    else:
        _show(report)
    return 0


def _show(report: PruneReport) -> None:
    now = datetime.now(UTC)
    fates = [(info, "keep", ", ".join(reasons)) for info, reasons in report.kept]
    fates += [(info, "remove", reason) for info, reason in report.removed]
    fates.sort(key=lambda fate: fate[0].seq, reverse=True)
    columns = [
        Column("step", right=True, style="bold"),
        Column("saved"),
        Column("state", right=True),
        Column("verdict"),
        Column("because", may_wrap=True),
    ]
    rows = [
        [str(info.step), age_text(info.created, now), bytes_text(info.state_bytes), fate, why]
        for info, fate, why in fates
    ]
    if rows:
        output.table(columns, rows)
        output.say()
    gone, stay = len(report.removed), len(report.kept)
    freed = bytes_text(report.freed_bytes)
    if report.dry_run:
        # A report that does not know what would be freed says 0.
        freeing = f", freeing {freed}" if report.freed_bytes else ""
        output.say(f"would remove {plural(gone, 'checkpoint')} and keep {stay}{freeing}")
        output.say("Nothing was changed (--dry-run).")
    else:
        output.say(f"removed {plural(gone, 'checkpoint')}, kept {stay}, {freed} freed")
    if report.over_budget_bytes:
        over = bytes_text(report.over_budget_bytes)
        output.say(f"{over} over the budget: the newest, and what has a tag, always stay")


def _as_json(run: str, report: PruneReport) -> dict[str, object]:
    return {
        "run": run,
        "dry_run": report.dry_run,
        "kept": [
            checkpoints.as_json(info) | {"because": list(reasons)} for info, reasons in report.kept
        ],
        "removed": [
            checkpoints.as_json(info) | {"because": [reason]} for info, reason in report.removed
        ],
        "freed_bytes": report.freed_bytes,
        "over_budget_bytes": report.over_budget_bytes,
    }
