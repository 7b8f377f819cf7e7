"""The app: global options, and the commands by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from holdfast.cli import (
    advise,
    bench,
    bisect,
    copy,
    demo,
    diff,
    doctor,
    drill,
    export,
    import_,
    keys,
    log,
    metrics,
    note,
    options,
    plot,
    prune,
    repair,
    report,
    rm,
    rollback,
    scan,
    secrets,
    show,
    sign,
    simulate,
    tag,
    trust,
    verify,
)
from holdfast.version import __version__

# Option -> whether a value follows.
_ANYWHERE = {
    "--store": True,
    "--trust": True,
    "--identity": True,
    "--passphrase-file": True,
    "--debug": False,
}


class _Group(TyperGroup):
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


app = typer.Typer(
    name="holdfast",
    cls=_Group,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Exit status: 0 done and good, 1 something is wrong with the data, 2 wrong usage, "
    "3 trouble with the environment.\n\nExample: holdfast --store ckpts log",
)


@app.callback()
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
    context.obj = options.Settings(store, trust_file, identity, passphrase_file)


for _module, _command in (
    (demo, demo.demo),
    (log, log.log),
    (metrics, metrics.metrics),
    (show, show.show),
    (diff, diff.diff),
    (plot, plot.plot),
    (bisect, bisect.bisect),
    (verify, verify.verify),
    (repair, repair.repair),
    (tag, tag.tag),
    (sign, sign.sign),
    (note, note.note),
    (rm, rm.rm),
    (rollback, rollback.rollback),
    (prune, prune.prune),
    (copy, copy.copy),
    (export, export.export),
    (import_, import_.import_),
    (scan, scan.scan),
    (report, report.report),
    (advise, advise.advise),
    (simulate, simulate.simulate),
    (drill, drill.drill),
    (bench, bench.bench),
    (doctor, doctor.doctor),
):
    app.command(
        _command.__name__.rstrip("_"), epilog=f"Example: {_module.EXAMPLE}".replace("[", r"\[")
    )(_command)

app.add_typer(trust.commands, name="trust")
app.add_typer(keys.app, name="keys")
