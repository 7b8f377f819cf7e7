"""``holdfast verify``: read every byte and check it against its digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.numbers import bytes_text, plural
from holdfast.cli.tables import Styled

if TYPE_CHECKING:
    from holdfast.history.verify import CheckpointCheck, VerifyReport

EXAMPLE = "holdfast --store ckpts verify gpt2-small@latest"


def verify(
    context: typer.Context,
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF", help="A checkpoint or a run; without it, everything is checked."
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Read and check every stored byte.

    The exit status is 1 if anything is damaged; the last good checkpoint is named then.
    """
    from holdfast.cli.progress import ByteBar

    store = options.open_store(context)
    with ByteBar("checking") as bar:
        report = store.verify(ref, progress=bar)
    if as_json:
        output.result_json(report_as_json(report))
    else:
        show_report(report)
    return 0 if report.ok else 1


def last_good(checks: Sequence[CheckpointCheck]) -> dict[str, str | None]:
    """Return, for each run among the checks, the ref of its newest checkpoint that is good.

    The checks of one run are in the order of its log, oldest first.
    """
    newest: dict[str, str | None] = {}
    for check in checks:
        run = run_of(check.ref)
        newest[run] = check.ref if check.ok else newest.get(run)
    return newest


def run_of(ref: str) -> str:
    """Return the run that a check names: before ``@`` or, where the commit is damaged, a comma.

    >>> run_of("gpt2@1200"), run_of("gpt2, commit 3 (runs/gpt2/commits/3)")
    ('gpt2', 'gpt2')
    """
    return ref.partition("@")[0] if "@" in ref else ref.rpartition(", commit ")[0]


def show_report(report: VerifyReport) -> None:
    """Print a report for people."""
    for check in report.checkpoints:
        output.say(_verdict(check), "  ", check.ref)
        for problem in check.problems:
            output.say("         ", problem)
    for problem in report.problems:
        output.say(Styled("trouble", "bold red"), "  ", problem)
    if not report.checkpoints and not report.problems:
        output.say("No checkpoints to check.")
        return
    output.say()
    damaged = [check for check in report.checkpoints if not check.ok and not check.too_new]
    too_new = sum(check.too_new for check in report.checkpoints)
    output.say(
        f"{plural(len(report.checkpoints), 'checkpoint')} checked, "
        f"{bytes_text(report.checked_bytes)} read, {len(damaged)} damaged"
        + (f", {too_new} too new for this version of holdfast" if too_new else "")
    )
    if damaged:
        _show_way_out(report.checkpoints, {run_of(check.ref) for check in damaged})


def _show_way_out(checks: Sequence[CheckpointCheck], damaged_runs: set[str]) -> None:
    for run, ref in last_good(checks).items():
        if run in damaged_runs and ref is not None:
            output.say(f"last good of {run}: {ref}")
        elif run in damaged_runs:
            output.say(f"last good of {run}: none among those checked")
    output.say("'holdfast repair' puts right what it can, from another store with --from.")


def _verdict(check: CheckpointCheck) -> Styled:
    if check.too_new:
        return Styled("too new", "yellow")
    return Styled("OK     ", "green") if check.ok else Styled("damaged", "bold red")


def report_as_json(report: VerifyReport) -> dict[str, object]:
    """Return a report for programs."""
    return {
        "ok": report.ok,
        "checked_bytes": report.checked_bytes,
        "checkpoints": [
            {
                "ref": check.ref,
                "ok": check.ok,
                "too_new": check.too_new,
                "problems": check.problems,
            }
            for check in report.checkpoints
        ],
        "problems": report.problems,
        "last_good": last_good(report.checkpoints),
    }
