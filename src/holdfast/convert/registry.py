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
# Of what is in a folder that is no checkpoint.
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
    within = members_of(path)
    if within:
        told = ", ".join(repr(member.name) for member in within[:_MOST_TOLD])
        more = " and others" if len(within) > _MOST_TOLD else ""
        raise CannotConvert(
            f"{str(path)!r} is a folder that is no checkpoint itself; in it are {told}{more}. "
            "Nothing was read. Import them one at a time. If the names of all tell their steps, "
            "'holdfast import' makes a run of them, in Python import_series().",
            path=str(path),
        )
    raise CannotConvert(
        f"{str(path)!r} is of no format that is known here: {', '.join(format_names())}. Nothing "
        "was read. If it is one of these, say which with --format.",
        path=str(path),
    )


def members_of(folder: Path) -> list[Path]:
    """Return the files and folders in a folder that are checkpoints, by name.

    None where the folder is a checkpoint itself.
    """
    if not folder.is_dir() or _is_known(folder):
        return []
    return [path for path in sorted(folder.iterdir()) if _is_known(path)]


def _is_known(path: Path) -> bool:
    return any(known.recognises(path) for known in _FORMATS)
