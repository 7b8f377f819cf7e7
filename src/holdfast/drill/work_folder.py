"""Fresh copies of the folder that a script runs in, one for each run of the drill."""

from __future__ import annotations

import fnmatch
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import NotFound, UsageError
from holdfast.format.names import MARKER_KEY

OUT = "{out}"
WORLD = "{world}"
# What scripts do not read, and what would let the first run begin half-way.
_NEVER = (
    ".git",
    ".hg",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    ".*_cache",
    "lightning_logs",
)
_MOST_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was found: size in bytes and time of change."""

    nbytes: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run of the script happens.

    Attributes:
        root: All that it has: the copy of the working folder, and a folder for its results.
        before: The files that were there before it began, by path from the root.
    """

    root: Path
    before: dict[str, Seen]

    @property
    def work(self) -> Path:
        """The copy of the working folder; the script is started in it."""
        return self.root / "work"

    @property
    def out(self) -> Path:
        """What ``{out}`` in the command stands for."""
        return self.root / "out"

    def moved(self, root: Path) -> RunFolder:
        """Move everything elsewhere."""
        root.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.root, root)
        return RunFolder(root, self.before)

    def files(self) -> Iterator[tuple[str, Seen]]:
        """Yield what the script has made or changed, by path from the root."""
        for name, seen in _walk(self.root):
            if self.before.get(name) != seen:
                yield name, seen


def fresh(source: Path, root: Path, leave_out: Sequence[str], share: Sequence[str]) -> RunFolder:
    """Copy the working folder.

    Args:
        source: The folder.
        root: Where the run shall happen; a folder that is not there, or is empty.
        leave_out: Patterns of names that are not copied.
        share: Patterns of names that are linked to, as they are only read.

    Raises:
        UsageError: It is too large to be copied for each run, or has links that lead out of it.
        NotFound: There is no such folder.
    """
    if not source.is_dir():
        raise NotFound(f"There is no folder {str(source)!r} to run the script in.")
    _refuse_links(source, (*leave_out, *share))
    _refuse_large(source, (*leave_out, *share))
    shared: list[tuple[Path, Path]] = []

    def passed_over(folder: str, names: list[str]) -> set[str]:
        left = {name for name in names if _is_left(folder, name, leave_out)}
        linked = {n for n in names if n not in left and _matches(n, share)}
        into = root / "work" / os.path.relpath(folder, source)
        shared.extend((Path(folder, name).resolve(), into / name) for name in linked)
        return left | linked

    shutil.copytree(source, root / "work", ignore=passed_over, symlinks=False, dirs_exist_ok=True)
    for original, link in shared:
        link.symlink_to(original)
    (root / "out").mkdir(parents=True, exist_ok=True)
    return RunFolder(root, dict(_walk(root)))


def _refuse_links(source: Path, but: Sequence[str]) -> None:
    """Refuse links that lead out: what is written through one would be the user's own files."""
    inside = source.resolve()
    for path in _copied(source, but):
        if not path.is_symlink():
            continue
        if not path.resolve().is_relative_to(inside) or not path.exists():
            raise UsageError(
                f"{str(path)!r} is a link to {str(path.resolve())!r}, out of the working "
                "folder; what the script writes there would be written by every run. Nothing "
                f"was run. Say --share {path.name} if it is only read, or "
                f"--leave-out {path.name}.",
                path=str(path),
            )


def _refuse_large(source: Path, but: Sequence[str]) -> None:
    nbytes = 0
    for path in _copied(source, but):
        seen = path.lstat()
        nbytes += 0 if stat.S_ISDIR(seen.st_mode) else seen.st_size
        if nbytes > _MOST_BYTES:
            raise UsageError(
                f"{str(source)!r} has more than {_MOST_BYTES >> 30} GiB, and each run of the drill "
                "gets its own copy of it. Nothing was run. Say with --share NAME what is only read "
                "(data), with --leave-out NAME what is not needed, or start in a smaller folder "
                "with --dir.",
                path=str(source),
            )


def _copied(source: Path, but: Sequence[str]) -> Iterator[Path]:
    """Yield the files, folders and links that are copied, without those of some names."""
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not _is_left(folder, name, but)]
        for name in (*folders, *names):
            if not _is_left(folder, name, but):
                yield Path(folder, name)


def _is_left(folder: str, name: str, patterns: Sequence[str]) -> bool:
    return _matches(name, (*_NEVER, *patterns)) or _is_store(folder, name)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _is_store(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name, MARKER_KEY))


def _walk(root: Path) -> Iterator[tuple[str, Seen]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            if not os.path.islink(path):
                yield os.path.relpath(path, root), Seen(found.st_size, found.st_mtime_ns)


def filled(command: Sequence[str], folder: RunFolder, world: int | None) -> list[str]:
    """Return a command with ``{out}`` and ``{world}`` as they are for a run."""
    words = {OUT: str(folder.out), WORLD: "" if world is None else str(world)}
    done = []
    for argument in command:
        for word, value in words.items():
            argument = argument.replace(word, value)
        done.append(argument)
    return done
