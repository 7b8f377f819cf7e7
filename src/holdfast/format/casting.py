"""Types of arrays that are stored in fewer bits than they had, as a manifest names them.

A cast that loses digits is made where a user asks for it by name, and the manifest says of each
such array what it was (docs/spec/v1.md, 7.3).
"""

from __future__ import annotations

from holdfast.format import dtypes

# What a type of float may become.
NARROWER = {
    "float32": ("bfloat16", "float16"),
    "float64": ("float32", "bfloat16", "float16"),
}
_MARK = "<"


def is_cast(dtype: str, cast_from: str) -> bool:
    """Say whether arrays of a type may be stored as another one.

    >>> is_cast("bfloat16", "float32"), is_cast("float32", "bfloat16")
    (True, False)
    """
    return dtype in NARROWER.get(cast_from, ())


def type_text(dtype: str, cast_from: str) -> str:
    """Return a type as it stands in a manifest; cast_from is empty where nothing was cast.

    >>> type_text("bfloat16", "float32"), type_text("float32", "")
    ('bfloat16<float32', 'float32')
    """
    return f"{dtype}{_MARK}{cast_from}" if cast_from else dtype


def split_type(text: str) -> tuple[str, str]:
    """Return dtype and ``cast_from`` of the text of a type.

    Raises:
        ValueError: There is no such type, or no such cast.
    """
    if text.startswith(dtypes.NUMPY_PREFIX) or _MARK not in text:
        dtypes.itemsize(text)
        return text, ""
    dtype, _, cast_from = text.partition(_MARK)
    if not is_cast(dtype, cast_from):
        raise ValueError(f"no cast leads from {cast_from!r} to {dtype!r}")
    return dtype, cast_from


def stored_bytes(nbytes: int, dtype: str, cast_from: str) -> int:
    """Return the bytes of a cast array, or of a part of it.

    Args:
        nbytes: What it takes as it was.
        dtype: As what it is stored.
        cast_from: What it was.
    """
    return nbytes // dtypes.itemsize(cast_from) * dtypes.itemsize(dtype)
