"""``holdfast drill``: prove that one's own script resumes exactly, whatever happens to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.tables import Styled
from holdfast.errors import DataError, StoreUnavailable, UsageError
from holdfast.wording.numbers import duration_text, plural

if TYPE_CHECKING:
    from types import FrameType

    from holdfast.drill import DrillReport, Outcome, Undisturbed

EXAMPLE = "holdfast drill --budget 10 --junit drill.xml -- python train.py"

_STYLES = {"passed": "green", "failed": "bold red", "warned": "yellow", "skipped": "dim"}
_SHOWN = 4
_MINUTE_S = 60.0


def drill(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="-- COMMAND…",
            help="The script, as you start it. {out} becomes a fresh folder for what it writes, "
            "{world} the number of processes.",
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="The working folder; each run gets a copy.",
            show_default="the current one",
        ),
    ] = None,
    budget: Annotated[
        float, typer.Option(metavar="MINUTES", help="How long all of it may take.")
    ] = 10.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this fault; say it several times.", show_default="all"
        ),
    ] = None,
    world: Annotated[
        str | None,
        typer.Option(metavar="N,M", help="Processes for {world}: undisturbed, and of a resume."),
    ] = None,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time to leave after SIGTERM.")
    ] = 30.0,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Names in the folder that are not copied."),
    ] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Names that are only read: linked to, not copied."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same moments.")] = 0,
    repeat: Annotated[
        bool,
        typer.Option(
            "--repeat/--no-repeat",
            help="Run it undisturbed twice first: does it end the same? Leave that out only where "
            "it is known.",
        ),
    ] = True,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch/--no-watch", help="Look into the script's processes, to tell causes."
        ),
    ] = True,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Leave all runs here, to look around in."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as JUnit XML, for CI.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Run your own script under faults, let it resume, and compare the end with undisturbed runs.

    The script is not changed. Faults: kill, kill-in-save, damaged, sigterm, machine, full-disk,
    world, stop, kill-process, kill-twice. The exit status is 0 if it resumes exactly, 1 if not.
    """
    from holdfast.drill import DrillOptions
    from holdfast.drill import drill as run

    asked = DrillOptions(
        command=tuple(command),
        folder=folder or Path.cwd(),
        environment=dict(os.environ),
        faults=tuple(fault or ()),
        budget_s=budget * _MINUTE_S,
        grace_s=grace,
        worlds=_numbers(world),
        seed=seed,
        leave_out=tuple(leave_out or ()),
        share=tuple(share or ()),
        repeat=repeat,
        watch=watch,
        keep=keep,
        open_store=lambda location: options.keyed_store(context, location),
    )
    if junit is not None:
        _require_place(junit)
    with _ended_by_signals():
        report = run(asked, output.notice)
    if junit is not None:
        _write_junit(report, junit)
    if as_json:
        output.result_json({"exact": report.is_exact, "causes": report.causes, **asdict(report)})
    else:
        _show(report)
    return DataError.exit_code if report.is_bad else 0


def _numbers(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--world is {text!r}; it looks like 2,1. Nothing was run.") from None


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the drill as Ctrl-C does, so that no process of it is left behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _require_place(path: Path) -> None:
    """Refuse a place that cannot be written to before the drill, not after all its time."""
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StoreUnavailable(
            f"The report cannot be written to {str(path)!r}: "
            f"{'it is a folder' if path.is_dir() else 'no such folder, or no permission'}. "
            "Nothing was run.",
            path=str(path),
        )


def _write_junit(report: DrillReport, path: Path) -> None:
    from holdfast.drill.junit import junit

    try:
        path.write_text(junit(report), encoding="utf-8")
    except OSError as error:
        raise StoreUnavailable(
            f"The report cannot be written to {str(path)!r}: {error.strerror}.", path=str(path)
        ) from error


def _show(report: DrillReport) -> None:
    _show_undisturbed(report.undisturbed)
    for outcome in report.outcomes:
        _show_outcome(outcome)
    output.say()
    output.say(_verdict(report))
    for cause in report.causes:
        output.say("  ", cause.words)


def _verdict(report: DrillReport) -> Styled:
    took = f"{plural(len(report.made), 'fault')} in {duration_text(report.seconds)}"
    if report.is_exact:
        return Styled(f"It resumes exactly: {took}.", "bold green")
    if not report.undisturbed.repeatable:
        return Styled("Whether it resumes exactly cannot be told.", "bold red")
    if not report.made:
        return Styled("No fault was made, so nothing is proven.", "bold red")
    if not report.is_bad and any(outcome.is_unseen for outcome in report.made):
        words = "It ends the same, but nobody saw whether it goes on or begins anew"
        return Styled(f"{words}: {took}.", "yellow")
    if not report.is_bad:
        words = "Nothing wrong was trained on, but it does not go on by itself"
        return Styled(f"{words}: {took}.", "yellow")
    return Styled(f"It does NOT resume exactly: {took}.", "bold red")


def _show_undisturbed(undisturbed: Undisturbed) -> None:
    output.facts(
        [
            ("one run", duration_text(undisturbed.seconds)),
            ("leaves behind", _listed(undisturbed.checkpoints)),
            (
                "compared",
                f"{plural(undisturbed.n_leaves, 'leaf')}, "
                f"{plural(len(undisturbed.metrics), 'metric')}",
            ),
            (
                "watched",
                f"{undisturbed.n_steps} {undisturbed.watched}"
                if undisturbed.n_steps
                else undisturbed.watched,
            ),
            ("by bytes alone", _listed(undisturbed.opaque) or "nothing"),
            ("never the same", _listed(undisturbed.volatile) or "nothing"),
        ]
    )
    output.say()
    if undisturbed.repeatable:
        return
    difference = undisturbed.difference
    output.say(Styled("Two undisturbed runs of it do not end the same.", "bold red"))
    if difference.leaves:
        words = f"{len(difference.leaves):,} of {difference.n_leaves:,} leaves differ"
        output.say(f"  {words}, by {difference.farthest:.2g} of their norm at most")
    for leaf in difference.leaves[:_SHOWN]:
        output.say(f"    {leaf.saved}: {leaf.path}: {leaf.words}")
    for series in difference.series[:_SHOWN]:
        found = "nothing" if series.found is None else f"{series.found:.6g}"
        output.say(
            f"  {series.name} differs from step {series.step} ({series.expected:.6g} and {found}), "
            f"by {series.largest:.2g} at most"
        )
    for cause in undisturbed.causes:
        output.say("  ", cause.words)
    output.say(
        "  Set a seed for every generator, and let the script compute the same each time; a drill "
        "compares bits."
    )


def _show_outcome(outcome: Outcome) -> None:
    output.say(
        Styled(f"{outcome.status:8}", _STYLES[outcome.status]), outcome.fault, ": ", outcome.what
    )
    output.say("        ", outcome.words)
    for cause in outcome.causes:
        output.say("        ", Styled(cause.words, "bold"))
    if outcome.status != "failed":
        return
    if outcome.difference is not None and not outcome.causes:
        for leaf in outcome.difference.leaves[:_SHOWN]:
            output.say(f"          {leaf.saved}: {leaf.path}: {leaf.words}")
    for line in outcome.output[-_SHOWN:]:
        output.say("          | ", line)


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
