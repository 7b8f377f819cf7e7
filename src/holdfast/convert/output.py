"""Where exported files appear: whole or not at all, and never over something that is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from holdfast.errors import AlreadyExists, NoSpace, StoreUnavailable
from holdfast.store.scratch_folder import REPLACED, scratch_beside


@contextmanager
def appearing(
    path: Path, *, is_folder: bool, overwrite: bool, members: Sequence[str] = ()
) -> Iterator[Path]:
    """Lend a path beside the wanted one; what is made there takes its place at the end.

    Nothing is left where the block raises; what is left where the process is killed goes when the
    same path is made again.

    Args:
        path: What shall appear.
        is_folder: Whether it is a folder.
        overwrite: Replace a file, or a folder of the same kind, that is there.
        members: Patterns for the names in a folder of the kind that is made.

    Raises:
        AlreadyExists: There is something, and ``overwrite`` is not wanted; or it is a folder with
            other things in it, which are nobody's to remove.
        NoSpace, StoreUnavailable: It cannot be written.
    """
    if os.path.lexists(path) and not overwrite:
        raise AlreadyExists(
            f"{str(path)!r} is there already. Nothing was written. Choose another path, or "
            "replace it with --overwrite.",
            path=str(path),
        )
    if path.is_dir() and not path.is_symlink() and (other := _other_in(path, members)):
        raise AlreadyExists(
            f"{str(path)!r} is a folder with other things in it ({other!r}), which --overwrite "
            "does not remove. Nothing was written. Choose another path, or remove it yourself.",
            path=str(path),
        )
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_beside(os.fspath(path)) as scratch:
            made = Path(scratch, "new")
            if is_folder:
                made.mkdir()
            yield made
            _replace(path, made)


def _other_in(folder: Path, members: Sequence[str]) -> str | None:
    """Return the name of something in a folder that an export would not have put there."""
    names = sorted(os.listdir(folder))
    return next((name for name in names if not any(fnmatchcase(name, p) for p in members)), None)


def _replace(path: Path, made: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # A folder cannot be replaced in one step; the old one goes aside first.
        aside = made.with_name(REPLACED)
        os.rename(path, aside)
        try:
            os.rename(made, path)
        except BaseException:
            os.rename(aside, path)
            raise
    else:
        os.replace(made, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"Could not write {str(path)!r}: {error.strerror or error}. Nothing of it is left."
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (NoSpace if full else StoreUnavailable)(
            text, path=str(path), errno=error.errno
        ) from error
