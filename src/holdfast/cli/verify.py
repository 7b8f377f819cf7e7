"""``holdfast verify``: read every byte and check it against its digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import completion, options, output
from holdfast.cli.tables import Styled
from holdfast.wording.numbers import bytes_text, plural

if TYPE_CHECKING:
    from holdfast.history.verify import CheckpointCheck, VerifyReport
    from holdfast.repository import Store

EXAMPLE = "holdfast --store ckpts verify gpt2-small@latest"


def verify(
    context: typer.Context,
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="A checkpoint or a run; without it, everything is checked.",
            autocompletion=completion.runs_and_refs,
        ),
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(
            "--head",
            metavar="FILE",
            help="A trust file whose heads the runs must have or descend from, besides those of "
            "--trust: see 'holdfast trust pin'.",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Read and check every stored byte and, with a trust file, every signature.

    The exit status is 1 if anything is damaged, not trusted, or set back behind a known head; the
    last good checkpoint is named then.
    """
    from holdfast.cli.progress import ByteBar

    store = options.open_store(context)
    if head is not None:
        store = _with_heads(store, head)
    with ByteBar("checking") as bar:
        report = store.verify(ref, progress=bar)
    if as_json:
        output.result_json(report_as_json(report))
    else:
        show_report(report)
    return 0 if report.ok else 1


def _with_heads(store: Store, path: Path) -> Store:
    from holdfast.repository import Store
    from holdfast.security import trust_file
    from holdfast.security.trust_policy import TrustPolicy

    known = store.place.authenticity.trust or TrustPolicy(unsigned="allow")
    heads = {**known.heads, **trust_file.load(path).heads}
    return Store(store, trust=replace(known, heads=heads))


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
    bad = [check for check in report.checkpoints if not check.ok and not check.too_new]
    damaged = [check for check in bad if not check.untrusted]
    too_new = sum(check.too_new for check in report.checkpoints)
    output.say(
        f"{plural(len(report.checkpoints), 'checkpoint')} checked, "
        f"{bytes_text(report.checked_bytes)} read, {len(damaged)} damaged"
        + (f", {len(bad) - len(damaged)} not trusted" if len(bad) > len(damaged) else "")
        + (f", {too_new} too new for this version of holdfast" if too_new else "")
    )
    if bad:
        _show_last_good(report.checkpoints, {run_of(check.ref) for check in bad})
    if damaged:
        output.say("'holdfast repair' puts right what it can, from another store with --from.")


def _show_last_good(checks: Sequence[CheckpointCheck], damaged_runs: set[str]) -> None:
    for run, ref in last_good(checks).items():
        if run in damaged_runs and ref is not None:
            output.say(f"last good of {run}: {ref}")
        elif run in damaged_runs:
            output.say(f"last good of {run}: none among those checked")


def _verdict(check: CheckpointCheck) -> Styled:
    if check.too_new:
        return Styled("too new", "yellow")
    if check.untrusted:
        return Styled("not trusted", "bold red")
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
                "untrusted": check.untrusted,
                "problems": check.problems,
            }
            for check in report.checkpoints
        ],
        "problems": report.problems,
        "last_good": last_good(report.checkpoints),
    }
