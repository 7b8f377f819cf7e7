"""What a state must be at its root: a dict of named things."""

from __future__ import annotations

from typing import Any

from holdfast.errors import UsageError


def check_root(state: object) -> dict[str, Any]:
    """Return the mapping that a state must be at its root, with str keys, ``@`` not first.

    Raises:
        UsageError: It is empty, or no such mapping.
    """
    if not isinstance(state, dict):
        raise UsageError(
            "The state is a dict of named things, like {'model': model, 'optimizer': optimizer}; "
            f"got a {type(state).__name__}."
        )
    if not state:
        raise UsageError("The state is empty: there is nothing to save.")
    for key in state:
        if not isinstance(key, str) or key.startswith("@"):
            raise UsageError(
                f"The key {key!r} cannot stand at the root of a state: names there are str "
                "and do not begin with '@', which holdfast uses for its own."
            )
    return state
