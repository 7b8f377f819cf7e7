"""Which objects hosts hand one another: those of one run that a checkpoint is made of, by name."""

from __future__ import annotations

import re
from typing import final

from holdfast.format.names import RunKeys, is_pack_key, is_part_key

_NUMBER = re.compile(r"[0-9]{12,20}")
_PIN = re.compile(r"[0-9a-f]{32}(?:-[0-9]{5,9})?")
_GIVEN_UP = re.compile(r"[0-9a-f]{32}-given-up")
_NAME = re.compile(r"[A-Za-z0-9_\-~+=,()\[\]! %][A-Za-z0-9_.\-~+=,()\[\]! %]{0,199}")


@final
class Allowed:
    """The keys of a run that may go over the line.

    Args:
        run: Its name.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self.keys = RunKeys(run)

    def is_commit(self, key: str) -> bool:
        """Say whether it is that of a commit record."""
        return _is_below(key, self.keys.commits, _NUMBER)

    def is_part(self, key: str) -> bool:
        """Say whether it is that of a part."""
        return is_part_key(self._run, key)

    def is_pack(self, key: str) -> bool:
        """Say whether it is that of a pack."""
        return is_pack_key(self._run, key)

    def is_pin(self, key: str) -> bool:
        """Say whether it is that of a pin."""
        return _is_below(key, self.keys.pins, _PIN)

    def is_name(self, key: str) -> bool:
        """Say whether it is that of a tag, or of a name for good."""
        return any(_is_below(key, prefix, _NAME) for prefix in (self.keys.tags, self.keys.names))

    def is_on_all(self, key: str) -> bool:
        """Say whether every host has it: all that is small, and says what there is."""
        is_note = _is_below(key, self.keys.parts, _GIVEN_UP)
        return self.is_commit(key) or self.is_part(key) or self.is_name(key) or is_note

    def may_be_read(self, key: str) -> bool:
        """Say whether another host may have it."""
        return self.is_on_all(key) or self.is_pack(key) or self.is_pin(key)

    def may_be_written(self, key: str) -> bool:
        """Say whether another host may put it here for good."""
        return self.is_on_all(key) or self.is_pack(key)

    def may_be_listed(self, prefix: str) -> bool:
        """Say whether another host may list what is below it."""
        keys = self.keys
        return prefix in (keys.commits, keys.parts, keys.packs, keys.tags, keys.names)


def _is_below(key: str, prefix: str, rest: re.Pattern[str]) -> bool:
    return key.startswith(prefix) and rest.fullmatch(key, len(prefix)) is not None
