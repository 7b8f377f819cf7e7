"""``holdfast keys``: who can open an encrypted store, and what it is sealed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import helps, options, output, secrets
from holdfast.cli.tables import Column, Styled
from holdfast.errors import DataError, EnvironmentTrouble, UsageError
from holdfast.wording.numbers import plural

if TYPE_CHECKING:
    from holdfast.security.keys import Key
    from holdfast.store_keys import KeyHolder

app = typer.Typer(
    cls=helps.Group,
    help="Keys of an encrypted store: make one, list, add, remove, rotate, re-encrypt.",
    rich_markup_mode=None,
    epilog=helps.example("holdfast --store ckpts --identity me.key keys list"),
)


@app.command(epilog=helps.example("holdfast keys new ~/.config/holdfast/me.key"), cls=helps.Command)
def new(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write the private key.")],
) -> int:
    """Make a key: the private half goes to a new file, the public half is shown.

    The public half can be handed to anybody. Who has the file can open every store that it was
    added to: keep a copy of it in a safe place.
    """
    from holdfast.security import keys

    output.say(keys.new_identity(file).text)
    return 0


@app.command(
    "list",
    epilog=helps.example("holdfast --store ckpts --identity me.key keys list"),
    cls=helps.Command,
)
def list_(context: typer.Context, as_json: options.Json = False) -> int:
    """List who can open the store, and the generations of its data keys."""
    keys = options.open_store(context).keys
    holders, generations = keys.holders(), keys.generations()
    if as_json:
        output.result_json({"holders": holders, "generations": generations})
        return 0
    columns = [Column("label", style="bold"), Column("kind"), Column("public key", may_wrap=True)]
    output.table(columns, [[h.label, h.kind, h.recipient] for h in holders])
    output.say()
    count = plural(len(generations), "generation")
    output.say(f"{count} of data keys in use; number {generations[-1]} is written with")
    return 0


@app.command(
    epilog=helps.example("holdfast --store ckpts keys add age1… --label ada"), cls=helps.Command
)
def add(
    context: typer.Context,
    recipient: Annotated[
        str | None,
        typer.Argument(metavar="[AGE1…]", help="Their public key.", show_default=False),
    ] = None,
    new_passphrase: Annotated[
        bool, typer.Option("--new-passphrase", help="Add a passphrase; it is asked for.")
    ] = False,
    new_passphrase_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Add the passphrase in a file.", show_default=False),
    ] = None,
    label: Annotated[str, typer.Option(metavar="NAME", help="What to call them.")] = "",
) -> int:
    """Let somebody else open the store, or open it with a passphrase too."""
    store = options.open_store(context)
    key = _new_key(recipient, new_passphrase, new_passphrase_file)
    for holder in store.keys.add(key, label):
        output.say(f"{_name(holder)} can open {store.path}")
    return 0


def _new_key(recipient: str | None, asks: bool, file: str | None) -> Key:
    from holdfast.security import keys

    if (recipient is not None) + asks + (file is not None) != 1:
        raise UsageError("Say one of: a public key, --new-passphrase, --new-passphrase-file FILE.")
    if recipient is not None:
        return keys.recipient(recipient)
    if file is not None:
        return secrets.passphrase_in(file)
    typed = secrets.ask("The new passphrase", twice=True)
    if typed is None:
        raise UsageError(
            "There is no terminal to type a passphrase on: --new-passphrase-file FILE."
        )
    return typed


@app.command(epilog=helps.example("holdfast --store ckpts keys remove ada"), cls=helps.Command)
def remove(
    context: typer.Context,
    holder: Annotated[str, typer.Argument(metavar="HOLDER", help="Their public key, or label.")],
) -> int:
    """Let somebody not open the store any more, and change the keys for everybody else.

    Nobody else has to do anything. What was written before, they may have read or may have kept the
    keys of: 'keys reencrypt' makes such keys worthless.
    """
    gone = options.open_store(context).keys.remove(holder)
    output.say(f"{_name(gone)} is removed; what is written from now on has new keys")
    return 0


@app.command(epilog=helps.example("holdfast --store ckpts keys rotate"), cls=helps.Command)
def rotate(context: typer.Context) -> int:
    """Seal what is written from now on with a new data key."""
    number = options.open_store(context).keys.rotate()
    output.say(f"generation {number} of the data keys is written with from now on")
    return 0


@app.command(epilog=helps.example("holdfast --store ckpts keys reencrypt"), cls=helps.Command)
def reencrypt(context: typer.Context, as_json: options.Json = False) -> int:
    """Seal everything in the store with the newest data key, and throw the older ones away.

    It can be interrupted at any time and done again. The exit status is 1 if something is damaged
    and was left as it is, 3 if a run was left alone because it is being written.
    """
    from holdfast.cli.progress import ByteBar

    store = options.open_store(context)
    with ByteBar("sealing anew") as bar:
        report = store.keys.reencrypt(bar)
    if as_json:
        output.result_json({"ok": report.ok, **{n: getattr(report, n) for n in _FACTS}})
    else:
        output.say(f"{plural(report.objects, 'object')} sealed anew")
        for reason in report.busy:
            output.say(Styled("left alone", "yellow"), "  ", reason)
        for problem in report.problems:
            output.say(Styled("damaged", "bold red"), "  ", problem)
        if report.retired:
            output.say(f"thrown away: {', '.join(f'generation {n}' for n in report.retired)}")
    if report.problems:
        return DataError.exit_code
    return EnvironmentTrouble.exit_code if report.busy else 0


_FACTS = ("objects", "retired", "busy", "problems")


def _name(holder: KeyHolder) -> str:
    return f"{holder.label} ({holder.recipient})" if holder.label else holder.recipient
