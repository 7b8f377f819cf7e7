"""TensorFlow checkpoints (tensor bundles), without TensorFlow: ``prefix.index`` and data files.

What is exported is a folder with the checkpoint ``ckpt`` in it, as ``tf.train.Checkpoint`` makes
them: variables by the way to them, with the graph of objects. See tensor_bundle.proto of
TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np

from holdfast.convert.contract import FilePlan, Imported
from holdfast.convert.selection import Selection
from holdfast.convert.tensorflow.table import FOOTER_BYTES, MAGIC
from holdfast.errors import CannotConvert, NotFound

_DATA = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_LATEST = re.compile(r'^model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
_MAX_NOTE_BYTES = 1 << 20


@final
class TensorFlow:
    """The format ``tensorflow``.

    Options for writing: ``prefix`` is the name of the checkpoint in the folder (``ckpt``);
    ``names=plain`` writes names as ``tf.compat.v1.train.Saver`` does, without objects;
    ``save_counter=false`` leaves out the counter that ``tf.train.Checkpoint.restore`` wants.
    """

    name = "tensorflow"
    holds_values = True
    options: Sequence[str] = ("prefix", "names", "save_counter")
    members: Sequence[str] = ("checkpoint", "*.index", "*.data-*-of-*")

    def holds(self, value: object) -> bool:
        return isinstance(value, bytes | str | np.generic)

    def recognises(self, path: Path) -> bool:
        try:
            return _is_index(Path(f"{_prefix(path)}.index"))
        except (CannotConvert, NotFound, OSError):
            return False

    def read(self, path: Path) -> Imported:
        from holdfast.convert.tensorflow.reading import BundleReader

        return Imported(BundleReader(_prefix(path)).read())

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        from holdfast.convert.tensorflow.writing import plan_bundle

        return plan_bundle(selection, options)


def _is_index(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(0, 2)
        if file.tell() < FOOTER_BYTES:
            return False
        file.seek(-8, 2)
        return file.read(8) == MAGIC.to_bytes(8, "little")


def _prefix(path: Path) -> Path:
    """Return what the files of a checkpoint begin with, from one of them, or from their folder.

    Raises:
        NotFound: There is no checkpoint.
        CannotConvert: There are several, and no note which one counts.
    """
    if path.is_dir():
        return _in_folder(path)
    if path.name.endswith(".index"):
        return path.with_name(path.name.removesuffix(".index"))
    if found := _DATA.fullmatch(path.name):
        return path.with_name(found[1])
    if path.name == "checkpoint" and path.is_file():
        return _in_folder(path.parent)
    return path


def _in_folder(folder: Path) -> Path:
    found = sorted(p.name.removesuffix(".index") for p in folder.glob("*.index") if _is_index(p))
    if not found:
        raise NotFound(f"There is no TensorFlow checkpoint in {str(folder)!r}.", path=str(folder))
    if len(found) == 1:
        return folder / found[0]
    note = folder / "checkpoint"
    if note.is_file() and note.stat().st_size <= _MAX_NOTE_BYTES:
        latest = _LATEST.search(note.read_text("utf-8", "replace"))
        # The note may have been written elsewhere: only the name counts.
        if latest and (name := latest[1].rpartition("/")[2]) in found:
            return folder / name
    raise CannotConvert(
        f"{str(folder)!r} has several checkpoints: {', '.join(found)}. Nothing was read. Give the "
        ".index file of one.",
        path=str(folder),
    )
