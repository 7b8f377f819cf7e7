"""Who may use the files of a store: its owner alone, or the members of a group too."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Literal

Share = Literal["private", "group"]
SHARES: tuple[Share, ...] = ("private", "group")


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes of a store's folders and files, whatever the umask of who writes them."""

    share: Share
    folder: int
    file: int

    def open(self, path: str, flags: int) -> int:
        """Open a file, which is made if the flags say so, and return its descriptor."""
        fd = os.open(path, flags, self.file)
        try:
            self.fit_file(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def fit_file(self, fd: int) -> None:
        """Give an open file its mode, if it is ours to give."""
        self._fit(fd, self.file)

    def fit_folder(self, path: str) -> None:
        """Give a folder its mode, if it is ours to give."""
        self._fit(path, self.folder)

    def _fit(self, what: int | str, mode: int) -> None:
        # The umask can only take away, which leaves what is private private.
        if self.share == "private":
            return
        found = os.stat(what)
        if stat.S_IMODE(found.st_mode) != mode and found.st_uid == os.geteuid():
            os.chmod(what, mode)


# Setgid: what is made below belongs to the group of the folder, not of who makes it.
_MODES = {
    "private": Modes("private", 0o700, 0o600),
    "group": Modes("group", 0o2770, 0o660),
}


def modes_of(share: Share) -> Modes:
    """Return the modes of a store that is shared in that way."""
    return _MODES[share]


def share_of_folder(path: str) -> Share:
    """Return how a store is shared, by the mode of its folder."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return "private"  # What is wrong with it, its use will tell.
    group = _MODES["group"].folder
    return "group" if mode & group == group else "private"
