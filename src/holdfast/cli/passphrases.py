"""Passphrases of keys: from a private file or typed at a terminal, never from an argument."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

from holdfast.errors import UsageError


def of_key(key: Path, file: Path | None) -> str | None:
    """Return the passphrase of a key file that has one, None for one that has not."""
    from holdfast.security import signing

    if file is not None:
        return signing.read_passphrase(file)
    if not signing.is_encrypted(key):
        return None
    return _typed(f"passphrase of {key}: ", f"{str(key)!r} is encrypted")


def for_new_key(file: Path | None, *, wanted: bool) -> str | None:
    """Return the passphrase for a key that is to be made, typed twice; None if none is wanted."""
    from holdfast.security import signing

    if file is not None:
        return signing.read_passphrase(file)
    if not wanted:
        return None
    first = _typed("passphrase of the new key: ", "The key was to be encrypted")
    if first != getpass("once more: "):
        raise UsageError("The two passphrases differ. No key was made.")
    return first


def _typed(prompt: str, why: str) -> str:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{why}, and there is no terminal to ask for its passphrase. Name a file that holds it "
            "with --key-passphrase-file; only its owner may be allowed to read that file."
        )
    typed = getpass(prompt)
    if not typed:
        raise UsageError("No passphrase was given. Nothing was done.")
    return typed
