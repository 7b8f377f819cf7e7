"""What is said of values that cannot be saved: where they are, and what to do."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.errors import HoldfastError, UnsupportedLeaf


def asked(give: Callable[[], object], value: object, path: str) -> object:
    """Return what an object gives of its state; say where, if it fails."""
    try:
        return give()
    except UnsupportedLeaf as error:
        if "path" in error.facts:
            raise
        raise UnsupportedLeaf(
            f"{path!r} cannot be saved: {error.message}. Nothing was saved. To leave it out: "
            f"skip={path!r}.",
            path=path,
            **error.facts,
        ) from error
    except HoldfastError:
        raise
    except Exception as error:
        raise UnsupportedLeaf(
            f"{path!r} is a {type(value).__qualname__} that could not give its state: "
            f"{type(error).__name__}: {error}. Nothing was saved. To leave it out: skip={path!r}.",
            path=path,
        ) from error


def refused(path: str, what: str) -> UnsupportedLeaf:
    """Return the error for what cannot be saved; ``what`` says what it is or has."""
    return UnsupportedLeaf(
        f"{path!r} {what}. Nothing was saved. To leave it out: skip={path!r}.",
        path=path,
        what=what,
    )


def unsupported(value: object, cls: type, path: str) -> str:
    """Return the message for a value that no codec knows."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    where = repr(path) if path else "The state itself"
    base = next(
        (b.__name__ for b in (dict, list, tuple, int, float, str) if isinstance(value, b)), ""
    )
    hint = f"turn it into a plain {base}, " if base else ""
    return (
        f"{where} is a {name}, which holdfast cannot save; nothing was saved. To save it: {hint}"
        "give its class state_dict() and load_state_dict(), or call "
        "holdfast.register_codec(cls, encode, decode). To leave it out: "
        f"skip={path!r}."
    )
