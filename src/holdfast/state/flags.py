"""Arguments that are True or False."""

from __future__ import annotations

import numpy as np

from holdfast.errors import UsageError


def require_flags(**flags: object) -> None:
    """Refuse what is neither: a text such as ``"no"`` would be taken for True.

    Raises:
        UsageError: One is not; the message names it.
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise UsageError(f"{name}={value!r} is neither True nor False.")
