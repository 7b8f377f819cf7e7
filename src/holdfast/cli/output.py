"""Results to stdout, notices and errors to stderr: text, tables, facts and JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import IO, TYPE_CHECKING

from holdfast.cli import tables
from holdfast.cli.tables import Cell, Column, Line, Rows, Styled
from holdfast.wording.jsonable import jsonable
from holdfast.wording.visible import visible

# rich is imported where it is used, so that what prints nothing styled starts without it.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Piped without COLUMNS there is no width to keep to; a line is then as long as its content.
_UNBOUNDED_COLUMNS = 10_000


class StdoutClosed(Exception):
    """Whoever read stdout has gone, as in ``holdfast log run | head -1``."""


@cache
def stdout() -> Console:
    """Return the console that results go to."""
    return _console(sys.stdout)


@cache
def stderr() -> Console:
    """Return the console that progress, notices and errors go to."""
    return _console(sys.stderr)


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    class PipedConsole(Console):
        def on_broken_pipe(self) -> None:
            raise StdoutClosed

    return PipedConsole(
        file=stream,
        width=_width(stream),
        # Only with both does rich not believe that a dumb terminal has 80 columns.
        height=shutil.get_terminal_size().lines if is_dumb() else None,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


def _width(stream: IO[str]) -> int | None:
    """Return how many columns there are; None where rich finds out by itself."""
    if not stream.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        return _UNBOUNDED_COLUMNS
    return shutil.get_terminal_size().columns if is_dumb() else None


def is_dumb() -> bool:
    """Tell whether the terminal says that it can do nothing but show one line after another."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def speaks_unicode() -> bool:
    """Tell whether stdout can show more than ASCII."""
    return stdout().encoding.lower().startswith("utf")


def say(*parts: Cell) -> None:
    """Print one line of result, made of parts."""
    stdout().print(_joined(parts))


def say_first(lines: Sequence[str], most: int = 10) -> None:
    """Print the first of some lines of result, indented, and how many more there are."""
    for line in lines[:most]:
        say(f"  {line}")
    if len(lines) > most:
        say(f"  … and {len(lines) - most} more")


def notice(*parts: Cell) -> None:
    """Print one line to stderr."""
    stderr().print(_joined(parts))


def facts(pairs: Iterable[tuple[str, Cell]]) -> None:
    """Print names with their values, one below the other."""
    _write_lines(tables.facts(pairs, stdout().width))


def fits(columns: Sequence[Column], rows: Rows) -> bool:
    """Tell whether a table fits the terminal with no cell wrapped."""
    return tables.natural_width(columns, rows) <= stdout().width


def table(columns: Sequence[Column], rows: Rows) -> None:
    """Print rows in columns or, where the terminal is too narrow, each row as its own list."""
    _write_lines(tables.table(columns, rows, stdout().width))


def result_json(value: object) -> None:
    """Print a result as JSON."""
    _write(json.dumps(jsonable(value), indent=2) + "\n")


def error_json(
    kind: str,
    message: str,
    exit_code: int,
    facts: Mapping[str, object],
    trace: Sequence[str] | None,
) -> None:
    """Print an error to stderr as one line of JSON."""
    error: dict[str, object] = {
        "kind": kind,
        "message": message,
        "exit_code": exit_code,
        "facts": facts,
    }
    if trace is not None:
        error["traceback"] = "".join(trace)
    print(json.dumps({"error": jsonable(error)}), file=sys.stderr, flush=True)


def error_block(kind: str, message: str, trace: Sequence[str] | None) -> None:
    """Print an error to stderr for people, below its traceback where there is one."""
    if trace is not None:
        print("".join(trace), file=sys.stderr, end="", flush=True)
    first, *others = message.splitlines() or [""]
    notice(Styled(f"error[{kind}]: ", "bold red"), first)
    for line in others:
        notice("  ", line)


def _joined(parts: Sequence[Cell]) -> Text:
    from rich.text import Text

    joined = Text()
    for part in parts:
        styled = part if isinstance(part, Styled) else Styled(part, "")
        joined.append(visible(styled.text), style=styled.style)
    return joined


def _write_lines(lines: Iterable[Line]) -> None:
    coloured = stdout().color_system is not None
    _write("".join(_rendered(line, coloured) + "\n" for line in lines))


def _rendered(line: Line, coloured: bool) -> str:
    if not coloured:
        return "".join(piece.text for piece in line)
    from rich.color import ColorSystem
    from rich.style import Style

    # Only the sixteen colours that every terminal has and its owner may choose.
    return "".join(
        Style.parse(piece.style).render(piece.text, color_system=ColorSystem.STANDARD)
        for piece in line
    )


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise StdoutClosed from None
