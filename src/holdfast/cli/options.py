"""What the commands share: the global settings, the store they name, and ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import secrets
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.repository import Store
    from holdfast.security.signing import Signer

STORE_VARIABLE = "HOLDFAST_STORE"
TRUST_VARIABLE = "HOLDFAST_TRUST"

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="RUN@STEP, RUN@latest, RUN@best:METRIC, RUN@best:METRIC:max or RUN@TAG.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Settings:
    """What was said before the command's name."""

    store: str | None
    trust: str | None = None
    identity: str | None = None
    passphrase_file: str | None = None


def named_values(texts: Sequence[str]) -> dict[str, object]:
    """Return the values of options written as ``NAME=VALUE``; whole numbers become such.

    Raises:
        UsageError: One is not written so.

    >>> named_values(["shard_bytes=500_000", "framework=pt"])
    {'shard_bytes': 500000, 'framework': 'pt'}
    """
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"{text!r} is no option of a format; it looks like 'NAME=VALUE'.")
        digits = value.replace("_", "")
        found[name] = int(digits) if digits.isdecimal() else value
    return found


def named_store(context: typer.Context) -> str | None:
    """Return the location that ``--store`` or the environment names."""
    settings = context.find_object(Settings)
    return (settings.store or None) if settings is not None else None


def named_trust(context: typer.Context) -> str | None:
    """Return the trust file that ``--trust`` or the environment names."""
    settings = context.find_object(Settings)
    return (settings.trust or None) if settings is not None else None


def open_store(context: typer.Context, *, sign: Signer | None = None) -> Store:
    """Return the store that was named, with the trust policy that was.

    A command that saves makes it if it is not there.

    Raises:
        UsageError: None was named.
        NotFound: There is none at that place, or no such trust file.
        StoreUnavailable: It cannot be read.
        BadTrustFile: The trust file cannot be used.
    """
    return keyed_store(context, require_store(context), sign=sign)


def require_store(context: typer.Context) -> str:
    """Return the location that ``--store`` or the environment names.

    Raises:
        UsageError: None was named.
    """
    location = named_store(context)
    if location is None:
        raise UsageError(
            "No store was named. Say where the checkpoints are, with 'holdfast --store S COMMAND' "
            f"or in the environment: 'export {STORE_VARIABLE}=S'."
        )
    return location


def keyed_store(context: typer.Context, location: str, *, sign: Signer | None = None) -> Store:
    """Return the store at a location, with the keys that were named if it is encrypted.

    The trust policy that was named is the store's.
    """
    from holdfast.repository import Store

    store = Store(location, sign=sign, trust=named_trust(context))
    if not store.is_encrypted:
        return store
    settings = context.find_object(Settings) or Settings(None)
    found = (
        secrets.keys_of(settings.identity, settings.passphrase_file)
        or secrets.configured(location)
        or secrets.ask(f"Passphrase of {location}")
    )
    return Store(store, keys=found) if found else store
