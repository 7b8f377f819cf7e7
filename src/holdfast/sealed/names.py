"""Keys as they are asked for, and as they lie in an encrypted store: without names.

What a run or a tag is called stands in their keys. Each such component is replaced by a keyed
digest of it; the key that was asked for is sealed with the object. A component whose name cannot
be told is shown as ``?`` and its digest, which no name is encoded to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from blake3 import blake3

_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNTOLD = "?"
_RUN, _TAG = 1, 3


class HiddenNames:
    """Turns components into digests and, where it has seen them before, back.

    Args:
        key: What the digests are keyed with; 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}

    def stored(self, key: str) -> str:
        """Return where the object of a key lies; a prefix, ending in a slash, is one too."""
        parts = key.split("/")
        run = parts[_RUN] if len(parts) > _RUN else ""
        for at in hidden(parts):
            parts[at] = self._digest(parts[at], run if at == _TAG else None)
        return "/".join(parts)

    def shown(self, stored: str) -> str:
        """Return the key that an object is asked for by, as far as it is known."""
        parts = stored.split("/")
        for at in hidden(parts):
            parts[at] = self._known.get(parts[at], _UNTOLD + parts[at])
        return "/".join(parts)

    def knows(self, digest: str) -> bool:
        """Say whether a digest's name is known."""
        return digest in self._known

    def _digest(self, component: str, run: str | None) -> str:
        if component.startswith(_UNTOLD) and _DIGEST.fullmatch(component[1:]):
            return component[1:]
        # The same tag in two runs shall not be seen to be the same.
        text = f"run\0{component}" if run is None else f"tag\0{run}\0{component}"
        digest = blake3(text.encode(), key=self._key).hexdigest()
        self._known[digest] = component
        return digest


def hidden(parts: Sequence[str]) -> list[int]:
    """Return which components of a key are names."""
    if parts[0] != "runs":
        return []
    found = [_RUN] if len(parts) > _RUN and parts[_RUN] else []
    if len(parts) > _TAG and parts[2] in ("tags", "names") and parts[_TAG]:
        found.append(_TAG)
    return found


def told(key: str) -> bool:
    """Say whether a key has no component whose name is not known."""
    return _UNTOLD not in key
