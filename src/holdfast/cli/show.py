"""``holdfast show``: one checkpoint, its leaves and where it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import checkpoints, options, output
from holdfast.cli.tables import Cell, Column, Styled, without_empty
from holdfast.errors import Untrusted
from holdfast.history import telling
from holdfast.state import environment
from holdfast.wording.numbers import age_text, bytes_text, plural

if TYPE_CHECKING:
    from holdfast.format.lineage import Origin
    from holdfast.history.info import CheckpointInfo, LeafInfo

EXAMPLE = "holdfast --store ckpts show gpt2-small@latest --filter 'model/**'"

_NOT_CHECKED = "The stored bytes were not read here; 'holdfast verify' checks every one of them."
# On a terminal, a table longer than this pushes the summary out of sight.
_SHOWN_ON_TERMINAL = 60


def show(
    context: typer.Context,
    ref: options.Ref,
    leaves: Annotated[
        bool, typer.Option("--leaves/--no-leaves", help="List the leaves of the state.")
    ] = True,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="GLOB", help="Only leaves whose path matches, as 'model/**'."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="List at most so many leaves.",
            show_default=f"{_SHOWN_ON_TERMINAL} on a terminal, else all",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Show one checkpoint: leaves, shapes, types, environment.

    Of one that the trust policy does not trust nothing but the commit is read, and the exit status
    is 1.
    """
    store = options.open_store(context)
    info = store.info(ref)
    status = Untrusted.exit_code if telling.is_refused(info) else 0
    leaves = leaves and status == 0
    wanted = _matching(store.leaves(ref), pattern) if leaves else []
    if as_json:
        output.result_json(_as_json(info, wanted if leaves else None))
        return status
    _show_summary(info)
    if leaves:
        if limit is None:
            limit = _SHOWN_ON_TERMINAL if output.stdout().is_terminal else len(wanted)
        _show_leaves(wanted, limit, pattern)
    _show_facts("configuration", info.config or {})
    _show_facts("environment", info.environment)
    _show_facts("differs here", _different_here(info))
    output.say()
    output.facts([("integrity", _NOT_CHECKED)])
    return status


def _matching(leaves: Iterable[LeafInfo], pattern: str | None) -> list[LeafInfo]:
    if pattern is None:
        return list(leaves)
    from holdfast.state.paths import matches

    return [leaf for leaf in leaves if matches(pattern, leaf.path)]


def _show_summary(info: CheckpointInfo) -> None:
    when = info.created.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    pairs: list[tuple[str, Cell]] = [
        ("checkpoint", info.ref),
        ("id", info.id),
        ("parent", info.parent or "none"),
        ("saved", f"{when} ({age_text(info.created, datetime.now(UTC))})"),
        ("reason", info.reason),
        ("epoch", "" if info.epoch is None else f"{info.epoch:.12g}"),
        ("tags", ", ".join(info.tags)),
        ("signed by", ", ".join(info.signed_by)),
        ("trust", _trust(info)),
        ("metrics", telling.metrics_text(info.metrics)),
        ("notes", telling.notes_text(info.notes, info.values)),
        ("resumed from", _origin_text(info.resumed_from)),
        ("forked from", _origin_text(info.forked_from)),
        ("base", _origin_text(info.base)),
        ("data", info.dataset or ""),
        ("state", f"{bytes_text(info.state_bytes)} in {plural(info.n_leaves, 'leaf')}"),
        ("not finite", _finite(info)),
        ("newly stored", _stored_text(info)),
    ]
    output.facts((name, value) for name, value in pairs if value)


def _trust(info: CheckpointInfo) -> Cell:
    if info.trust is None:
        return "not checked: no trust file was named" if info.signed_by else ""
    if not info.trust.trusted:
        return Styled(f"NOT TRUSTED: {info.trust.why}", "bold red")
    return f"trusted: {info.trust.why}"


def _finite(info: CheckpointInfo) -> Cell:
    if info.not_finite is None:
        return ""
    if not info.not_finite:
        return "nothing: all arrays that were looked at are finite"
    return Styled(f"{plural(info.not_finite, 'value')} NaN or infinite", "bold red")


def _origin_text(origin: Origin | None) -> str:
    return "" if origin is None else f"{origin.ref} ({origin.id})"


def _stored_text(info: CheckpointInfo) -> str:
    if not info.state_bytes or info.stored_bytes >= info.state_bytes:
        return bytes_text(info.stored_bytes)
    share = info.stored_bytes / info.state_bytes
    # What is missing was there before, or a codec has saved it.
    return f"{bytes_text(info.stored_bytes)} ({share:.0%} of the state)"


def _show_leaves(leaves: Sequence[LeafInfo], limit: int, pattern: str | None) -> None:
    output.say()
    if not leaves:
        matched = f" matches '{pattern}'" if pattern else ""
        output.say(f"No leaf{matched}." if matched else "The state has no leaves.")
        return
    columns = [
        Column("leaf", may_wrap=True),
        Column("kind"),
        Column("shape"),
        Column("size", right=True),
        Column("not finite", right=True, style="bold red"),
        Column("value", may_wrap=True, style="dim"),
    ]
    rows = [_leaf_row(leaf) for leaf in leaves[:limit]]
    if rows:
        output.table(*without_empty(columns, rows))
    rest = len(leaves) - len(rows)
    if rest:
        output.say(f"… and {plural(rest, 'leaf')} more: see --limit, --filter and --json.")


def _leaf_row(leaf: LeafInfo) -> list[str]:
    shape = "" if leaf.shape is None else "×".join(map(str, leaf.shape)) or "scalar"
    size = bytes_text(leaf.nbytes) if leaf.dtype is not None and leaf.alias_of is None else ""
    bad = f"{leaf.not_finite:,}" if leaf.not_finite else ""
    return [leaf.path, leaf.dtype or leaf.kind, shape, size, bad, telling.value_text(leaf)]


def _show_facts(title: str, facts: Mapping[str, object]) -> None:
    known = [(name, value) for name, value in _flat(facts) if value]
    if known:
        output.say()
        output.say(Styled(title, "bold"))
        output.facts(known)


def _different_here(info: CheckpointInfo) -> dict[str, object]:
    found = (d.text.partition(": ") for d in environment.differences_here(info.environment))
    return {what: told for what, _, told in found}


def _flat(facts: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", " ".join(map(str, value))
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)


def _as_json(info: CheckpointInfo, leaves: Sequence[LeafInfo] | None) -> dict[str, object]:
    shown = checkpoints.as_json(info)
    shown["environment"] = info.environment
    shown["differs_here"] = _different_here(info)
    shown["bytes_checked"] = False
    if leaves is not None:
        shown["leaves"] = leaves
    return shown
