"""What the commands share: the global settings, the store they name, and ``--json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import completion, passphrases, secrets, user_settings
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.repository import Store
    from holdfast.security.keys import Key
    from holdfast.security.signing import Signer

STORE_VARIABLE = "HOLDFAST_STORE"
TRUST_VARIABLE = "HOLDFAST_TRUST"
SIGN_VARIABLE = "HOLDFAST_SIGN_KEY"

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="RUN@STEP, RUN@latest, RUN@best:METRIC, RUN@best:METRIC:max or RUN@TAG.",
        show_default=False,
        autocompletion=completion.refs,
    ),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The run.", autocompletion=completion.runs)]


@dataclass(frozen=True, slots=True)
class Settings:
    """What was said before the command's name."""

    store: str | None
    trust: str | None = None
    identity: str | None = None
    passphrase_file: str | None = None
    sign_key: str | None = None


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


def bytes_of(gigabytes: float | None, option: str) -> int | None:
    """Return the bytes of an option that is said in GB, or None where it is not.

    Raises:
        UsageError: It is no number of bytes.

    >>> bytes_of(1.5, "--budget-gb")
    1500000000
    """
    if gigabytes is None:
        return None
    if not 0 < gigabytes * 1e9 < math.inf:
        raise UsageError(f"{option} is {gigabytes}; it is a number of GB above 0, such as 200.")
    return round(gigabytes * 1e9)


def named_store(context: typer.Context) -> str | None:
    """Return the location that ``--store`` or the environment names."""
    settings = context.find_object(Settings)
    return (settings.store or None) if settings is not None else None


def named_trust(context: typer.Context, location: str | None = None) -> str | None:
    """Return the trust file that ``--trust``, the environment or the user's settings name.

    Args:
        context: Of the command.
        location: The store that it is for, in the settings; None: the one that was named.
    """
    settings = context.find_object(Settings)
    given = settings.trust if settings is not None else None
    return given or _configured(context, location, "trust")


def named_sign_key(context: typer.Context, location: str | None = None) -> Path | None:
    """Return the private key to sign with that an option, the environment or the settings name.

    The arguments are those of ``named_trust``.
    """
    settings = context.find_object(Settings)
    given = settings.sign_key if settings is not None else None
    file = given or _configured(context, location, "sign")
    return Path(file) if file else None


def _configured(context: typer.Context, location: str | None, name: str) -> str | None:
    """Return the file of that name in the user's settings for a store."""
    location = location or named_store(context)
    return user_settings.of_store(location).get(name) if location else None


def named_signer(context: typer.Context, location: str | None = None) -> Signer | None:
    """Return who signs what a command saves, or None; asks for the passphrase of the key."""
    key = named_sign_key(context, location)
    if key is None:
        return None
    from holdfast.security.signing import key_file

    return key_file(key, passphrase=passphrases.of_key(key, None))


def open_store(context: typer.Context, *, sign: Signer | None = None) -> Store:
    """Return the store that was named, with the trust policy that was.

    A command that saves makes it if it is not there; an encrypted one where keys were named.

    Raises:
        UsageError: None was named.
        NotFound: There is none at that place, or no such trust file.
        StoreUnavailable: It cannot be read.
        BadTrustFile: The trust file cannot be used.
    """
    location = require_store(context)
    store = keyed_store(context, location, sign=sign)
    if store.is_encrypted or store.place.is_there:
        return store
    return _keyed(store, _named_keys(context) or secrets.configured(location))


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

    The trust policy that was named is the store's. One that is not there yet is made with the keys
    that the user's settings name for it; those that open another store are not for it.
    """
    from holdfast.repository import Store

    _require_server(location)
    store = Store(location, sign=sign, trust=named_trust(context, location))
    if store.is_encrypted:
        return _keyed(store, _keys_for(context, location))
    if store.place.is_there:
        _require_no_key_for(location)
        return store
    return _keyed(store, secrets.configured(location))


def with_keys(context: typer.Context, location: str) -> Store:
    """Return a store that is only looked at, with the keys that were named if it is encrypted.

    The trust policy that was named is not about it.
    """
    from holdfast.repository import Store

    _require_server(location)
    store = Store(location)
    if store.is_encrypted:
        return _keyed(store, _keys_for(context, location))
    if store.place.is_there:
        _require_no_key_for(location)
    return store


def _require_server(location: str) -> None:
    """Refuse the URL of a bucket at once where nobody answers that it could be asked of."""
    if "://" in location:
        from holdfast.store.remote.listening import require_listening

        require_listening(location)


def _require_no_key_for(location: str) -> None:
    """Refuse a store in the open where the user's settings say that it is encrypted.

    Whoever has put it there would read what is saved next.
    """
    files = user_settings.of_store(location)
    named = [name for name in user_settings.KEYS if name in files]
    if named:
        raise UsageError(
            f"The settings name a key ({named[0]}) for the store at {location!r}, but what is "
            "there is not encrypted; it may not be the store that they mean. Nothing was read or "
            "changed. If it is, take the key out of the settings."
        )


def _keys_for(context: typer.Context, location: str) -> Key | Sequence[Key] | None:
    return (
        _named_keys(context)
        or secrets.configured(location)
        or secrets.ask(f"Passphrase of {location}")
    )


def _named_keys(context: typer.Context) -> list[Key]:
    settings = context.find_object(Settings) or Settings(None)
    return secrets.keys_of(settings.identity, settings.passphrase_file)


def _keyed(store: Store, keys: Key | Sequence[Key] | None) -> Store:
    from holdfast.repository import Store

    return Store(store, keys=keys) if keys else store
