"""The app: global options, and the commands by name.

Only the command that is asked for is imported: making all of them ready takes longer than most of
them take.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from holdfast.cli import helps, options, secrets, shells
from holdfast.version import __version__

_COMMANDS = (
    "demo",
    "log",
    "metrics",
    "show",
    "diff",
    "plot",
    "bisect",
    "verify",
    "repair",
    "tag",
    "sign",
    "note",
    "rm",
    "rollback",
    "prune",
    "copy",
    "export",
    "import",
    "scan",
    "report",
    "advise",
    "simulate",
    "drill",
    "bench",
    "ui",
    "doctor",
)
# Those with commands of their own, and what their app is called in their module.
_GROUPS = {"trust": "commands", "keys": "app"}
# Names that Python keeps to itself.
_MODULES = {"import": "import_"}

# Option -> whether a value follows.
_ANYWHERE = {
    "--store": True,
    "--trust": True,
    "--identity": True,
    "--passphrase-file": True,
    "--sign-key": True,
    "--debug": False,
}


class _Group(helps.Group):
    """Takes the global options after the command's name as well as before it."""

    # Any: the context's class is click's or typer's own copy of it, by the version of typer.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, hoisted(args))


def hoisted(arguments: list[str]) -> list[str]:
    """Return the arguments with the global options first.

    >>> hoisted(["log", "run", "--store", "ckpts", "--", "--debug"])
    ['--store', 'ckpts', 'log', 'run', '--', '--debug']
    """
    first: list[str] = []
    others: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            others += [argument, *rest]
            break
        name, separator, _ = argument.partition("=")
        value_follows = _ANYWHERE.get(name, False) and not separator
        if name not in _ANYWHERE or (value_follows and not rest):
            others.append(argument)
            continue
        first.append(argument)
        if value_follows:
            first.append(rest.pop(0))
    return first + others


def holdfast(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(
            envvar=options.STORE_VARIABLE,
            metavar="S",
            help="The store: a folder, a bucket (s3://BUCKET/PREFIX) or a bundle.",
        ),
    ] = None,
    trust_file: Annotated[
        str | None,
        typer.Option(
            "--trust",
            envvar=options.TRUST_VARIABLE,
            metavar="FILE",
            help="Whom to believe: a trust file, see 'holdfast trust'.",
        ),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            envvar=secrets.IDENTITY_VARIABLE,
            metavar="FILE",
            help="Your private key, for an encrypted store.",
        ),
    ] = None,
    passphrase_file: Annotated[
        str | None,
        typer.Option(
            envvar=secrets.PASSPHRASE_VARIABLE,
            metavar="FILE",
            help="A file with the passphrase of an encrypted store.",
        ),
    ] = None,
    sign_key: Annotated[
        str | None,
        typer.Option(
            envvar=options.SIGN_VARIABLE,
            metavar="FILE",
            help="The private key, in PEM, that signs what a command saves.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Checkpoints for machine-learning training: see, check, name, keep and remove them."""
    if version:
        print(f"holdfast {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), end="")
        raise typer.Exit(2)
    context.obj = options.Settings(store, trust_file, identity, passphrase_file, sign_key)


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """Return the app with the command that some arguments ask for; with all where none is.

    Args:
        arguments: Those of the command line, without the program's name.
    """
    app = typer.Typer(
        name="holdfast",
        cls=_Group,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=helps.settings(),
        epilog="Exit status: 0 done and good, 1 something is wrong with the data, 2 wrong usage, "
        f"3 trouble with the environment.\n\n{helps.example('holdfast --store ckpts log')}",
    )
    app.callback()(holdfast)
    asked_for = _asked_for(arguments)
    for name in (*_COMMANDS, *_GROUPS) if asked_for is None else (asked_for,):
        module = importlib.import_module(f"holdfast.cli.{_MODULES.get(name, name)}")
        if name in _GROUPS:
            app.add_typer(getattr(module, _GROUPS[name]), name=name)
        else:
            command = getattr(module, _MODULES.get(name, name))
            epilog = helps.example(module.EXAMPLE)
            app.command(name, epilog=epilog, cls=helps.Command)(command)
    return app


def _asked_for(arguments: Sequence[str]) -> str | None:
    """Return the command that arguments name, or None: help and its completion want all."""
    rest = hoisted(shells.asked(os.environ) or list(arguments))
    while rest and rest[0] != "--" and rest[0].startswith("-"):
        name, separator, _ = rest.pop(0).partition("=")
        if name not in _ANYWHERE:
            return None
        if _ANYWHERE[name] and not separator and rest:
            rest.pop(0)
    return rest[0] if rest and rest[0] in (*_COMMANDS, *_GROUPS) else None
