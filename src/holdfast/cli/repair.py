"""``holdfast repair``: put right what can be, say what cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output, verify
from holdfast.cli.tables import Styled
from holdfast.errors import DataError, EnvironmentTrouble
from holdfast.wording.numbers import bytes_text, plural

if TYPE_CHECKING:
    from holdfast.engine.repair import RepairReport

EXAMPLE = "holdfast --store ckpts repair --from /backup/ckpts --dry-run"


def repair(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="STORE",
            help="Another store that may have what is damaged here, such as a backup. Say it "
            "several times to ask several.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only tell what would be done.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Put right what is damaged, from wherever the same bytes are still good.

    Chunks are looked for in the whole store and in those named with --from; records in the latter.
    Debris of saves that never ended is removed, nothing else is. The exit status is 1 if something
    stays damaged, 3 if a run was left alone because it is being written.
    """
    from holdfast.cli.progress import ByteBar

    store = options.open_store(context)
    others = [options.keyed_store(context, source) for source in sources or []]
    with ByteBar("checking") as bar:
        report = store.repair(others, dry_run=dry_run, progress=bar)
    if as_json:
        output.result_json(_as_json(report))
    else:
        _show(report)
    if report.lost or (report.after is not None and not report.after.ok):
        return DataError.exit_code
    return EnvironmentTrouble.exit_code if report.busy else 0


def _show(report: RepairReport) -> None:
    for item in report.fixed:
        verb = "would fix" if report.dry_run else "fixed"
        output.say(Styled(verb, "green"), "  ", f"{item.key}: {item.what}")
    for reason in report.busy:
        output.say(Styled("left alone", "yellow"), "  ", reason)
    for problem in report.lost:
        output.say(Styled("beyond repair", "bold red"), "  ", problem)
    if report.freed_bytes:
        verb = "would be removed" if report.dry_run else "removed"
        output.say(f"{bytes_text(report.freed_bytes)} of unfinished saves {verb}")
    if report.dry_run:
        if not report.fixed and not report.lost:
            output.say("Nothing to repair.")
        output.say("Nothing was changed (--dry-run).")
    elif report.after is not None:
        if report.fixed:
            output.say(plural(len(report.fixed), "object"), " put right; now:")
        verify.show_report(report.after)


def _as_json(report: RepairReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "dry_run": report.dry_run,
        "fixed": [{"key": item.key, "what": item.what} for item in report.fixed],
        "busy": list(report.busy),
        "beyond_repair": list(report.lost),
        "freed_bytes": report.freed_bytes,
        "after": None if report.after is None else verify.report_as_json(report.after),
    }
