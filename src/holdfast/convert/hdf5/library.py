"""h5py, imported where it is used, and its errors as ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.errors import ForeignDamaged, MissingDependency

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def h5py_library() -> Any:
    """Return the module h5py.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependency(
            "HDF5 files need the package h5py, which is not installed. "
            "Install it with: pip install 'holdfast[hdf5]'",
            package="h5py",
        ) from error
    return h5py


def has_signature(path: str | os.PathLike[str]) -> bool:
    """Say whether a file begins as HDF5 files do, or has that behind a user block."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            at = 0
            while at + len(SIGNATURE) <= size:
                file.seek(at)
                if file.read(len(SIGNATURE)) == SIGNATURE:
                    return True
                at = 2 * at or 512
    except OSError:
        pass
    return False


@contextmanager
def damage_told(path: str) -> Iterator[None]:
    """Turn what h5py raises for a file that it cannot read into ForeignDamaged."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, UnicodeError) as error:
        raise ForeignDamaged(
            f"{path!r} cannot be read as HDF5: {error}. Nothing was saved. Is it whole?", path=path
        ) from error
