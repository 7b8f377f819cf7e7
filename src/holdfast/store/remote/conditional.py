"""Objects that are created only where there is none: proven, and told apart from one's own echo.

A commit is such an object. A server may ignore the condition without a word, and then two writers
would both believe that they have made it; so each client tries that out before it first relies on
it. And an answer may be lost: the object was made, but the client, which has tried again, is told
that there is one already. So each object carries a word that only its writer knows.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from holdfast.errors import StoreUnavailable
from holdfast.store.contract import Buffer
from holdfast.store.remote.faults import translated, translation
from holdfast.store.remote.patience import is_answer

# Letters only: Azure takes nothing but identifiers, and proxies drop names with underscores.
_WORD = "holdfastwriter"
_PROBES = ".probe"


def put_new(client: Any, key: str, data: Buffer, location: str) -> bool:
    """Create an object unless there is one; say whether it is ours.

    Raises:
        StoreUnavailable: It was refused; or, where its fact ``in_doubt`` says so, nobody can tell
            whether it was made, or will be.
        NoSpace: There is no room for it.
    """
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    word = uuid.uuid4().hex
    try:
        obstore.put(client, key, bytes(data), mode="create", attributes={_WORD: word})
    except (AlreadyExistsError, PreconditionError):
        return _word_of(client, key, location) == word
    except Exception as error:
        if _made_it(client, key, word):
            return True
        told = translation(error, "create", key, location)
        # A request whose connection broke may still be carried out, when nobody waits for it.
        told.facts["in_doubt"] = not is_answer(error)
        raise told from error
    return True


def _word_of(client: Any, key: str, location: str) -> str | None:
    import obstore

    with translated("read", key, location):
        try:
            return _text(obstore.get(client, key).attributes.get(_WORD))
        except FileNotFoundError:
            # It was there a moment ago, and is gone: not ours, or no longer.
            return None


def _made_it(client: Any, key: str, word: str) -> bool:
    import obstore

    try:
        return _text(obstore.get(client, key).attributes.get(_WORD)) == word
    except Exception:
        return False


def _is_made_again(client: Any, key: str) -> bool:
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    try:
        obstore.put(client, key, b"second", mode="create")
    except (AlreadyExistsError, PreconditionError):
        return False
    return True


def _forget(client: Any, key: str) -> None:
    import obstore

    # What is left of a probe harms nobody, and what it has found out is what counts.
    with suppress(Exception):
        obstore.delete(client, [key])


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def prove(client: Any, location: str) -> None:
    """Raise where the server does not keep its word on creating objects.

    Raises:
        StoreUnavailable: It let an object be created twice, or cannot be asked.
    """
    key = f"{_PROBES}/{uuid.uuid4().hex}"
    # As commits are made: the answer may be lost here, too.
    put_new(client, key, b"first", location)
    try:
        with translated("try out", key, location):
            if not _is_made_again(client, key):
                return
    finally:
        _forget(client, key)
    raise StoreUnavailable(
        f"The server of the store at {location!r} ignores the condition that an object shall be "
        "created only if there is none. Two writers could both commit one checkpoint, and one be "
        "lost, so holdfast does not save there. Nothing was changed. Use a server with conditional "
        "writes (S3, GCS and Azure have them, and recent versions of others), or a folder.",
        location=location,
    )
