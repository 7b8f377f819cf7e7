"""How help looks: as wide as the terminal, no sentence cut off, examples ready to be copied."""

from __future__ import annotations

import functools
import shutil
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_WIDEST = 100
# On narrower terminals what an option does stands below it instead of beside it.
_COLUMNS_FOR_TWO, _INDENTED = 60, 8


def settings() -> dict[str, Any]:
    """Return what the parser is told of help; by itself it takes 50 columns at the least."""
    columns = shutil.get_terminal_size().columns
    return {
        "help_option_names": ["--help", "-h"],
        "terminal_width": max(20, min(columns, _WIDEST) - 2),
    }


def example(command: str) -> str:
    r"""Return what stands below a help: a command on a line of its own, however long.

    >>> example("holdfast log")
    '\x08\nExample:\n  holdfast log'
    """
    return f"\b\nExample:\n  {command}"


# Any: contexts and formatters are click's or typer's own copy of them, by the version of typer.
class Command(TyperCommand):
    """A command whose usage names its arguments as the text below does: REF, not {REF}."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the command's name."""
        return [
            piece[1:-1] if piece.startswith("{") and piece.endswith("}") else piece
            for piece in super().collect_usage_pieces(ctx)
        ]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        super().format_help(ctx, _fitted(formatter))


class Group(TyperGroup):
    """Commands, each with its whole first sentence; without one of them, their help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments; none at all ask for help, and are wrong usage."""
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            print(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        super().format_help(ctx, _fitted(formatter))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names of the commands and what they do."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(limit=1000))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _fitted(formatter: Any) -> Any:
    if formatter.width < _COLUMNS_FOR_TWO:
        formatter.write_dl = functools.partial(formatter.write_dl, col_max=_INDENTED)
    return formatter
