"""The page of all commands, made of the command line itself."""

from __future__ import annotations

import inspect
from typing import Any

import typer.main

from holdfast.cli.app import app_for

PAGE = "reference/commands.md"
_HEAD = """# Commands

Made from the code, as `holdfast --help` is. [The command line](../guides/command-line.md) shows
them at work, and says what each exit status means.

"""


# Any: the classes of commands are click's or typer's own copies of them, by the version of typer.
def page() -> str:
    """Return the page, in Markdown."""
    app: Any = typer.main.get_command(app_for([]))
    names = sorted(app.commands)
    links = " · ".join(f"[{name}](#holdfast-{name})" for name in names)
    sections = [_section(app.commands[name], f"holdfast {name}", "##") for name in names]
    for_all = f"{links}\n\n## For all commands\n\n{_table(app.params)}"
    return _HEAD + "\n\n".join([for_all, *sections])


def _section(command: Any, path: str, level: str) -> str:
    inner = getattr(command, "commands", {})
    parts = [f"{level} {path}", _text(command.help)]
    if not inner:
        parts += [f"```text\n{_usage(command, path)}\n```", _table(command.params)]
    parts.append(_epilog(command.epilog))
    parts += [_section(inner[name], f"{path} {name}", f"{level}#") for name in inner]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _usage(command: Any, path: str) -> str:
    context = command.context_class(command, info_name=path)
    return " ".join([path, *command.collect_usage_pieces(context)])


def _table(params: list[Any]) -> str:
    rows = [f"| {_name(param)} | {_meaning(param)} |" for param in params if _is_shown(param)]
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else ""


def _is_shown(param: Any) -> bool:
    return not getattr(param, "hidden", False) and "--help" not in param.opts


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.metavar or param.name.upper()}`"
    value = "" if param.is_flag else f" {param.metavar or param.type.name.upper()}"
    spellings = [*param.opts, *param.secondary_opts]
    return ", ".join(f"`{spelling}{value}`" for spelling in spellings).replace("|", "\\|")


def _meaning(param: Any) -> str:
    told = [_text(param.help).replace("|", "\\|")]
    if getattr(param, "envvar", None):
        told.append(f"In the environment: `{param.envvar}`.")
    if _has_default(param):
        told.append(f"Default: `{param.default}`.")
    return " ".join(told).replace("\n", " ")


def _has_default(param: Any) -> bool:
    plain = isinstance(param.default, str | int | float) and not isinstance(param.default, bool)
    return plain and getattr(param, "show_default", True) is not False and param.default != ""


def _text(text: str | None) -> str:
    # Texts are for a terminal: what would be HTML or emphasis in Markdown is meant as it stands.
    shown = inspect.cleandoc(text or "")
    for character in "<*_":
        shown = shown.replace(character, f"\\{character}")
    return shown


def _epilog(text: str | None) -> str:
    told: list[str] = []
    shown: list[str] = []
    is_example = False
    for line in (text or "").replace("\\[", "[").splitlines():
        if line.startswith("Example:"):
            # What is typed stands behind the word, or on the next lines.
            is_example = True
            line = line.removeprefix("Example:")
        if line.strip("\b "):
            (shown if is_example else told).append(line.strip())
    code = ["```text", *shown, "```"] if shown else []
    return "\n".join([*told, *([""] if told else []), *code])
