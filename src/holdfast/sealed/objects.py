"""Objects sealed one by one, each bound to the place where it lies.

What is sealed is the key that the object is asked for by, and its bytes. A journal grows by lines,
so that it is sealed line by line.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from contextlib import suppress

from holdfast.errors import SealBroken
from holdfast.format.names import is_journal
from holdfast.security.seal import OVERHEAD_BYTES, Seals, Unsealable

_LENGTH = struct.Struct("<H")


def seal_object(seals: Seals, stored_key: str, key: str, data: bytes) -> bytes:
    """Return the object of a key sealed, to be stored under ``stored_key``.

    A journal is lines from its beginning, so that more can be appended to what was put.
    """
    if is_journal(stored_key):
        return seal_line(seals, stored_key, key, data)
    return seals.seal(_joined(key, data), bound_to=b"object\0" + stored_key.encode())


def seal_line(seals: Seals, stored_key: str, key: str, data: bytes) -> bytes:
    """Return a sealed line of a journal."""
    sealed = seals.seal(_joined(key, data), bound_to=b"line\0" + stored_key.encode())
    # The newline first ends a line that a crash has torn.
    return b"\n" + base64.b64encode(sealed) + b"\n"


def open_object(seals: Seals, stored_key: str, stored: bytes) -> tuple[str, bytes]:
    """Return the key that an object is asked for by, and its bytes.

    Of a journal, lines that do not open are passed over: they cannot be told from torn ones.

    Raises:
        SealBroken: It does not open.
    """
    if _is_lines(stored_key, stored):
        found = list(_lines(seals, stored_key, stored))
        if found:
            return found[0][0], b"".join(data for _, data in found)
    try:
        return _apart(seals.open(stored, bound_to=b"object\0" + stored_key.encode()))
    except Unsealable as error:
        raise broken(stored_key, str(error)) from error


def _is_lines(stored_key: str, stored: bytes) -> bool:
    # A journal whose first line is torn, or was lost in a power cut, is one all the same.
    return is_journal(stored_key) or stored.startswith(b"\n")


def _lines(seals: Seals, stored_key: str, stored: bytes) -> Iterator[tuple[str, bytes]]:
    for line in stored.splitlines():
        with suppress(Unsealable, binascii.Error):
            sealed = base64.b64decode(line, validate=True)
            yield _apart(seals.open(sealed, bound_to=b"line\0" + stored_key.encode()))


def resealed(seals: Seals, stored_key: str, stored: bytes) -> bytes | None:
    """Return an object, or a journal, sealed with the newest keys; None where it is already.

    Raises:
        SealBroken: It does not open.
    """
    if _is_lines(stored_key, stored):
        lines = [seal_line(seals, stored_key, *line) for line in _lines(seals, stored_key, stored)]
        is_object = not lines and seals.generation_of(stored) > 0
        if not is_object:
            return b"".join(lines) if _is_old(seals, stored) else None
    if seals.generation_of(stored) == seals.keyring.newest:
        return None
    return seal_object(seals, stored_key, *open_object(seals, stored_key, stored))


def _is_old(seals: Seals, journal: bytes) -> bool:
    for line in journal.splitlines():
        with suppress(binascii.Error):
            if line and seals.generation_of(base64.b64decode(line)) != seals.keyring.newest:
                return True
    return False


def plain_bytes(key: str, stored_bytes: int) -> int:
    """Return the size of an object, no journal, that takes so many bytes sealed."""
    return max(0, stored_bytes - OVERHEAD_BYTES - _LENGTH.size - len(key.encode()))


def broken(key: str, why: str) -> SealBroken:
    """Return the error for an object that does not open."""
    return SealBroken(
        f"The object {key!r} does not open: {why}. It was changed, cut short, or put there from "
        "elsewhere; nothing of it was used. 'holdfast verify' lists which checkpoints are good.",
        key=key,
    )


def _joined(key: str, data: bytes) -> bytes:
    name = key.encode()
    return _LENGTH.pack(len(name)) + name + data


def _apart(plain: bytes) -> tuple[str, bytes]:
    end = _LENGTH.size + _LENGTH.unpack_from(plain)[0]
    return plain[_LENGTH.size : end].decode(), plain[end:]
