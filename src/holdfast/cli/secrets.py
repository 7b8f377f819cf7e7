"""Keys for the command line: from files that options, the environment or the settings name.

Or typed on a terminal; never as an argument, where everybody on the machine could read them.
"""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from holdfast.cli import user_settings
from holdfast.errors import InvalidKey, KeyExposed, UsageError

if TYPE_CHECKING:
    from holdfast.security.keys import Key, Passphrase

IDENTITY_VARIABLE = "HOLDFAST_IDENTITY"
PASSPHRASE_VARIABLE = "HOLDFAST_PASSPHRASE_FILE"


def keys_of(identity: str | None, passphrase_file: str | None) -> list[Key]:
    """Return the keys in the files that were named.

    Raises:
        NotFound, KeyExposed, InvalidKey: A file is not there, is open to others, or holds no key.
    """
    from holdfast.security import keys

    found: list[Key] = []
    if identity:
        found.append(keys.identity(identity))
    if passphrase_file:
        found.append(passphrase_in(passphrase_file))
    return found


def passphrase_in(file: str) -> Passphrase:
    """Return the passphrase in a file: all of it, but for the end of its last line."""
    from holdfast.security import keys
    from holdfast.security.private_files import read_private

    data = read_private(file, KeyExposed, InvalidKey)
    return keys.passphrase(data.decode("utf-8", "surrogateescape").rstrip("\r\n"))


def configured(store: str) -> list[Key]:
    """Return the keys that the user's settings name for a store.

    Raises:
        UsageError: The settings cannot be read.
    """
    files = user_settings.of_store(store)
    return keys_of(*map(files.get, user_settings.KEYS))


def ask(prompt: str, *, twice: bool = False) -> Passphrase | None:
    """Return a passphrase that was typed; None where there is no terminal to type it on.

    Raises:
        UsageError: The second time it was another.
    """
    from holdfast.security import keys

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    text = getpass.getpass(f"{prompt}? ")
    if twice and getpass.getpass("The same once more? ") != text:
        raise UsageError("The two passphrases differ. Nothing was changed.")
    return keys.passphrase(text)
