"""Notes written on what a ref, or the name of a run, names."""

from __future__ import annotations

import math
from collections.abc import Mapping

from holdfast.errors import UsageError
from holdfast.history.known import require_run
from holdfast.history.refs import resolve
from holdfast.records import notes
from holdfast.records.notes import Note, Value
from holdfast.store.contract import ObjectStore

_MAX_CHARACTERS = 100_000


def write_note(
    store: ObjectStore, target: str, text: str | None, values: Mapping[str, Value | None]
) -> None:
    """Write a note on a checkpoint (a ref) or a run (its name).

    Raises:
        NotFound: There is no such run or checkpoint.
        UsageError: There is nothing to write, or a value is none that can be.
    """
    text = _checked_text(text)
    if not isinstance(values, Mapping):
        raise UsageError(f"values= takes a mapping, not a {type(values).__name__}.")
    checked = {_checked_name(name): _checked_value(name, value) for name, value in values.items()}
    if text is None and not checked:
        raise UsageError("A note says something or sets a value; this one does neither.")
    if isinstance(target, str) and "@" not in target:
        require_run(store, target)
        notes.add(store, target, Note(None, text, checked))
    else:
        record = resolve(store, target)
        notes.add(store, record.run, Note(record.id, text, checked))


def _checked_text(text: object) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip() or len(text) > _MAX_CHARACTERS:
        raise UsageError(
            f"The text of a note is a str of 1 to {_MAX_CHARACTERS:,} characters; nothing was "
            "written."
        )
    return text


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > _MAX_CHARACTERS:
        raise UsageError(f"A value of a note is named by a str, not {name!r}. Nothing was written.")
    return name


def _checked_value(name: str, value: object) -> Value | None:
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        # A number of NumPy's, or of a framework's.
        value = value.item()
    is_plain = value is None or isinstance(value, str | int | float)
    if not is_plain or (isinstance(value, float) and not math.isfinite(value)):
        raise UsageError(
            f"The value {name!r} of a note is text, a finite number or a bool, not {value!r}. "
            "Nothing was written.",
            name=name,
        )
    return value  # type: ignore[return-value]
