"""``holdfast doctor``: is this machine fit for saving, and is the store in good order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from holdfast.cli import machine, options, output
from holdfast.cli.machine import Fact
from holdfast.cli.tables import Styled
from holdfast.errors import DataError, EnvironmentTrouble
from holdfast.wording.numbers import bytes_text

if TYPE_CHECKING:
    from holdfast.history.health import DoctorReport

EXAMPLE = "holdfast --store ckpts doctor"


def doctor(context: typer.Context, as_json: options.Json = False) -> int:
    """Examine this machine and, if one is named, the store.

    Without a store, the current folder is examined; with one in a bucket, none. The exit status
    is 1 if something is wrong with the store and 3 if something is wrong with the machine.
    """
    location = options.named_store(context)
    found = machine.look(None if location and "://" in location else Path(location or os.curdir))
    if not as_json:
        _show_machine(found)
    report = options.open_store(context).doctor() if location else None
    if as_json:
        output.result_json(_as_json(found, report))
    else:
        _show_store(report)
    return exit_code(found, report.problems if report else ())


def exit_code(found: Iterable[Fact], store_problems: Sequence[str]) -> int:
    """Return the exit status: damage weighs more than trouble with the machine."""
    if store_problems:
        return DataError.exit_code
    return EnvironmentTrouble.exit_code if any(fact.problem for fact in found) else 0


def _show_machine(found: Sequence[Fact]) -> None:
    output.say(Styled("machine", "bold"))
    output.facts((_title(fact.name), value_text(fact.name, fact.value)) for fact in found)
    _show_problems([f"{_title(fact.name)}: {fact.problem}" for fact in found if fact.problem])


def _show_store(report: DoctorReport | None) -> None:
    output.say()
    if report is None:
        output.say("No store was named, so none was examined: see --store.")
        return
    output.say(Styled("store", "bold"))
    output.facts((_title(name), value_text(name, value)) for name, value in report.facts.items())
    _show_problems(report.problems)
    if not report.problems:
        output.say("No problems in the store; 'holdfast verify' also reads every stored byte.")


def _show_problems(problems: Sequence[str]) -> None:
    for problem in problems:
        output.say(Styled("problem", "bold red"), "  ", problem)


def _title(name: str) -> str:
    """Return a fact's name without its unit.

    >>> _title("dev_shm_free_bytes")
    'dev shm free'
    """
    return name.removesuffix("_bytes").removesuffix("_s").replace("_", " ")


def value_text(name: str, value: object) -> str:
    """Return a fact's value as people read it; its name tells the unit.

    >>> value_text("free_bytes", 2_500_000), value_text("direct_io", True)
    ('2.50 MB', 'yes')
    """
    if value is None:
        return "not there"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return bytes_text(value) if name.endswith("_bytes") else f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(str(key), item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _as_json(found: Sequence[Fact], report: DoctorReport | None) -> dict[str, object]:
    problems = {fact.name: fact.problem for fact in found if fact.problem}
    return {
        "machine": {"facts": {fact.name: fact.value for fact in found}, "problems": problems},
        "store": None if report is None else {"facts": report.facts, "problems": report.problems},
    }
