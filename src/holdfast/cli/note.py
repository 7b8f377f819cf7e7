"""``holdfast note``: write something on a checkpoint or a run, as text or as values by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import completion, options, output
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.records.notes import Value
    from holdfast.repository import Store

EXAMPLE = 'holdfast --store ckpts note gpt2-small@latest "loss spike at 1100" --set reviewed=yes'


def note(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|REF",
            help="What it is on: a run, or one checkpoint.",
            autocompletion=completion.runs_and_refs,
        ),
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What it says; texts add up.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value; the last one counts."),
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Take a value back.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Write a note; with nothing to write, show the notes that there are."""
    store = options.open_store(context)
    changes = {**_parsed(values or []), **dict.fromkeys(unset or [])}
    if text is not None or changes:
        store.note(target, text, changes)
    _show(store, target, as_json)
    return 0


def _parsed(settings: Sequence[str]) -> dict[str, Value | None]:
    found: dict[str, Value | None] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise UsageError(f"--set takes KEY=VALUE, not '{setting}'. Nothing was written.")
        found[name] = value
    return found


def _show(store: Store, target: str, as_json: bool) -> None:
    texts, values = _written(store, target)
    if as_json:
        output.result_json({"target": target, "notes": texts, "values": values})
        return
    for text in texts:
        output.say(text)
    output.facts((name, str(value)) for name, value in values.items())
    if not texts and not values:
        output.say(f"There are no notes on {target}.")


def _written(store: Store, target: str) -> tuple[Sequence[str], Mapping[str, object]]:
    if "@" in target:
        info = store.info(target)
        return info.notes, info.values
    written = store.history(target).written
    return written.texts, written.values
