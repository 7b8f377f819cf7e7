"""The files of a model as OpenSSF Model Signing sees them: names and SHA-256 digests."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from holdfast.errors import NotFound, UsageError

# What the stock tool leaves out unless it is told otherwise.
GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
# How the stock tool names a model that is one file.
SINGLE = "."


def digests_of(path: str, ignored: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 digests of a file, or of all files below a folder, by relative name.

    Args:
        path: The file or folder.
        ignored: Relative paths in the folder that are left out, with all that is below them.

    Raises:
        NotFound: There is nothing at that path.
        UsageError: There is something below it that is no file and no folder, a link say: what it
            leads to could change without the folder.
    """
    if not os.path.lexists(path):
        raise NotFound(f"There is nothing at {path!r}.", path=path)
    if os.path.isdir(path) and not os.path.islink(path):
        names = sorted(_below(path, "", frozenset(ignored)), key=lambda name: name.split("/"))
        paths = [os.path.join(path, *name.split("/")) for name in names]
    else:
        _require_file(path, os.lstat(path).st_mode)
        names, paths = [SINGLE], [path]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(_digest, paths), strict=True))


def _below(folder: str, prefix: str, ignored: frozenset[str]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if name in ignored:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, f"{name}/", ignored)
            else:
                _require_file(entry.path, entry.stat(follow_symlinks=False).st_mode)
                yield name


def _require_file(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "no ordinary file"
        raise UsageError(
            f"{path!r} is {what}; only files and folders can be signed. Nothing was signed or "
            "verified. Put a copy of what it stands for in its place.",
            path=path,
        )


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
