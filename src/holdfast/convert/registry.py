"""The formats by name, and which one a file is of."""

from __future__ import annotations

from pathlib import Path

from holdfast.convert import tensorboard
from holdfast.convert.contract import Format
from holdfast.convert.dcp import DistributedCheckpoint
from holdfast.convert.hdf5 import Hdf5
from holdfast.convert.keras import Keras
from holdfast.convert.npz import Npz
from holdfast.convert.orbax import Orbax
from holdfast.convert.pickled_files import Pickled
from holdfast.convert.safetensors import Safetensors
from holdfast.convert.tensorflow import TensorFlow
from holdfast.convert.torch_files import Torch
from holdfast.errors import CannotConvert, UsageError

# In the order in which a file is looked at: what is easily told apart comes first.
_FORMATS: tuple[Format, ...] = (
    Safetensors(),
    TensorFlow(),
    Orbax(),
    Keras(),
    Hdf5(),
    Torch(),
    DistributedCheckpoint(),
    Npz(),
    # Last: of what begins as pickles do, others know more.
    Pickled(),
)
# Of a folder that is no checkpoint.
_MOST_LOOKED_AT = 100
_MOST_TOLD = 3


def format_names() -> list[str]:
    """Return the names of the formats."""
    return [known.name for known in _FORMATS]


def format_named(name: str) -> Format:
    """Return the format of that name.

    Raises:
        UsageError: There is none.
    """
    for known in _FORMATS:
        if known.name == name:
            return known
    if name == tensorboard.NAME:
        raise UsageError("tensorboard gets the metrics of a run: convert.export_metrics().")
    *written, only_read = format_names()
    raise UsageError(
        f"There is no format {name!r}; there are {', '.join(written)}, and, to be read only, "
        f"{only_read}."
    )


def format_of(path: Path) -> Format:
    """Return the format of a file or folder, by looking into it.

    Raises:
        CannotConvert: It is of none that is known.
    """
    for known in _FORMATS:
        if known.recognises(path):
            return known
    within = _files_within(path)
    if within:
        raise CannotConvert(
            f"{str(path)!r} is a folder that is no checkpoint itself; in it are {within}. Nothing "
            "was read. Import them one at a time.",
            path=str(path),
        )
    raise CannotConvert(
        f"{str(path)!r} is of no format that is known here: {', '.join(format_names())}. Nothing "
        "was read. If it is one of these, say which with --format.",
        path=str(path),
    )


def _files_within(folder: Path) -> str:
    """Return some files of a folder that are of known formats, with those, as a text."""
    if not folder.is_dir():
        return ""
    found = []
    for file in sorted(folder.iterdir())[:_MOST_LOOKED_AT]:
        known = next((known for known in _FORMATS if known.recognises(file)), None)
        if known is not None:
            found.append(f"{file.name!r} ({known.name})")
    return ", ".join(found[:_MOST_TOLD]) + (" and others" if len(found) > _MOST_TOLD else "")
