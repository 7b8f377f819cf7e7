"""``holdfast bisect``: find the checkpoint where something broke, by trying few of them."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.cli.tables import Styled
from holdfast.errors import DataError, EnvironmentTrouble, NotFound, UsageError
from holdfast.wording.numbers import plural

if TYPE_CHECKING:
    from holdfast.history.bisect import Bisection, Verdict
    from holdfast.history.info import CheckpointInfo
    from holdfast.repository import Store

EXAMPLE = (
    "holdfast --store ckpts bisect gpt2-small --good 1000 --bad latest -- python check.py {path}"
)

_PLACEHOLDERS = ("{path}", "{ref}", "{store}", "{step}")
_STDERR = 2
# What shells exit with where a command is no program, or not there.
_NOT_RUN = (126, 127)
_STYLES = {"good": "green", "bad": "bold red", "skip": "yellow"}


@dataclass(frozen=True, slots=True)
class Try:
    """One checkpoint that was tried: the verdict, the command's exit status, and the time."""

    ref: str
    verdict: Verdict
    status: int | None
    seconds: float
    problem: str | None = None


def bisect(
    context: typer.Context,
    run: options.Run,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="-- COMMAND…",
            help="Exits with 0 if the checkpoint is good, 125 if that cannot be told, 1 to 127 if "
            "it is bad; 128 and more ends the search. {path} is a folder with arrays.npz and "
            "checkpoint.json; {ref}, {store} and {step} are the names.",
        ),
    ],
    good: Annotated[
        str,
        typer.Option(
            metavar="A",
            help="One that is good: a ref, or what follows its @. It may be of a run that RUN was "
            "forked from.",
        ),
    ],
    bad: Annotated[str, typer.Option(metavar="B", help="A later one that is bad.")],
    as_json: options.Json = False,
) -> int:
    """Find the first bad checkpoint of a run, by binary search, as git bisect run does.

    Exit status 1: skipped ones lie between the last good and the first bad one.
    """
    if not any(word in argument for argument in command for word in _PLACEHOLDERS):
        raise UsageError(
            "The command would not know which checkpoint to try: give it one of "
            f"{', '.join(_PLACEHOLDERS)}."
        )
    from holdfast.history.bisect import begin
    from holdfast.history.lineage import with_forebears
    from holdfast.records import marker

    store = options.open_store(context)
    ends = [store.info(ref if "@" in ref else f"{run}@{ref}") for ref in (good, bad)]
    if ends[1].run != run:
        raise UsageError(f"{ends[1].ref} is not of run {run!r}.", ref=ends[1].ref)
    line = with_forebears(store.log, run, ends[0].id, marker.store_id(store.place.open()))
    if all(info.id != ends[0].id for info in line):
        raise UsageError(
            f"{ends[0].ref} is neither of run {run!r} nor of one in this store that it was forked "
            "from.",
            ref=ends[0].ref,
        )
    search = begin(line, ends[0].id, ends[1].id)
    tries: list[Try] = []
    while (candidate := search.next) is not None:
        tried = _try(store, candidate, command)
        if not tries and tried.status in _NOT_RUN:
            _require_that_it_runs(store, search.line[search.good], command)
        tries.append(tried)
        if not as_json:
            _show_try(tried, search)
        search = search.told(tried.verdict)
    if as_json:
        output.result_json(_as_json(search, tries))
    else:
        _show_result(search)
    return 0 if len(search.suspects) == 1 else 1


def _require_that_it_runs(store: Store, good: CheckpointInfo, command: Sequence[str]) -> None:
    """Refuse a command that says of the good one, too, what shells say of one that is not there."""
    status = _try(store, good, command).status
    if status in _NOT_RUN:
        raise UsageError(
            f"The command exits with {status} for {good.ref}, too, which is good: shells say so of "
            "what is not there or cannot be run. Nothing was found out.",
            ref=good.ref,
            status=status,
        )


def _try(store: Store, candidate: CheckpointInfo, command: Sequence[str]) -> Try:
    began_s = time.monotonic()
    try:
        status = _run(store, candidate, command)
    except (DataError, NotFound) as error:
        # One that is damaged, or was pruned meanwhile, tells nothing of the others.
        return Try(candidate.ref, "skip", None, time.monotonic() - began_s, str(error))
    from holdfast.history.bisect import verdict_of

    verdict = verdict_of(status)
    if verdict is None:
        how = f"was ended by signal {-status}" if status < 0 else f"exited with {status}"
        raise EnvironmentTrouble(
            f"The search was ended at {candidate.ref}: the command {how}. Nothing was changed; "
            "run it again, with a smaller range if you have learnt one.",
            ref=candidate.ref,
            status=status,
        )
    return Try(candidate.ref, verdict, status, time.monotonic() - began_s)


def _run(store: Store, candidate: CheckpointInfo, command: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="holdfast-bisect-") as folder:
        if any("{path}" in argument for argument in command):
            store.unpack(candidate, folder)
        is_named_by_step = store.info(candidate.ref).id == candidate.id
        names = {
            "{path}": folder,
            "{ref}": candidate.ref if is_named_by_step else candidate.exact_ref,
            "{store}": store.path,
            "{step}": str(candidate.step),
        }
        arguments = [_filled(argument, names) for argument in command]
        try:
            # What the command says goes to stderr: stdout is for the result.
            return subprocess.run(arguments, stdout=_STDERR, check=False).returncode
        except OSError as error:
            raise UsageError(
                f"The command {arguments[0]!r} cannot be run: {error.strerror}.",
                command=arguments,
            ) from error


def _filled(argument: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        argument = argument.replace(name, value)
    return argument


def _show_try(tried: Try, search: Bisection) -> None:
    left = f"of {search.n_left} left" if search.n_left > 1 else "the last one"
    status = "" if tried.status is None else f"exit {tried.status}, "
    line = f"  {tried.ref}  ({status}{tried.seconds:.1f} s, {left})"
    output.say(Styled(f"{tried.verdict:4}", _STYLES[tried.verdict]), line)
    if tried.problem is not None:
        output.say("      ", tried.problem)


def _show_result(search: Bisection) -> None:
    last_good, suspects = search.line[search.good], search.suspects
    output.say()
    if len(suspects) == 1:
        output.say(Styled(f"first bad: {suspects[0].ref}", "bold"), f", last good: {last_good.ref}")
        output.say(f"'holdfast diff {last_good.ref} {suspects[0].ref}' tells what changed.")
        return
    names = ", ".join(info.ref for info in suspects)
    output.say(f"The first bad one is one of {plural(len(suspects), 'checkpoint')}: {names}.")
    output.say(f"Those in between could not be told; last good: {last_good.ref}.")


def _as_json(search: Bisection, tries: Sequence[Try]) -> dict[str, object]:
    suspects = [info.ref for info in search.suspects]
    return {
        "first_bad": suspects[0] if len(suspects) == 1 else None,
        "suspects": suspects,
        "last_good": search.line[search.good].ref,
        "tried": tries,
    }
