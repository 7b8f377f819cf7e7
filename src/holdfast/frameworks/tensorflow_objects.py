"""What ``tf.train.Checkpoint`` tracks, by TensorFlow's own rules: its files, taken apart.

Which objects have state, what it is, and how it finds its way back (slots of optimizers, iterators
of ``tf.data``, variables that are made only later) TensorFlow alone knows. It is asked to write a
checkpoint into a folder in memory, and what is in it becomes leaves; and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from holdfast.errors import Mismatch
from holdfast.frameworks.memory_folder import MemoryFolder
from holdfast.state.paths import put_at

# What holds a value in TensorFlow's own encoding.
OPAQUE = "@variant"


def is_tracked(value: Any) -> bool:
    """Say whether a value is saved by what TensorFlow tracks of it."""
    return isinstance(value, tf.train.Checkpoint | tf.data.Iterator) or (
        isinstance(value, tf.Module) and type(value).__module__.partition(".")[0] != "keras"
    )


def take(value: Any) -> dict[Any, Any]:
    """Return what is tracked of an object, as nested dicts of arrays and byte strings."""
    folder = MemoryFolder()
    try:
        prefix = _root_of(value).write(str(folder.path / "state"))
        reader = tf.train.load_checkpoint(prefix)
        tree: dict[Any, Any] = {}
        for name, dtype in sorted(reader.get_variable_to_dtype_map().items()):
            is_opaque = dtype == tf.variant
            leaf = _opaque(prefix, name) if is_opaque else _leaf(reader.get_tensor(name))
            put_at(tree, name.split("/"), leaf)
        return tree
    finally:
        folder.close()


def put(value: Any, tree: dict[Any, Any]) -> Any:
    """Restore an object from what ``take`` gave.

    Raises:
        Mismatch: Something of the object is not in it, or the other way round.
    """
    tensors = dict(_tensors(tree, ""))
    folder = MemoryFolder()
    prefix, root = str(folder.path / "state"), _root_of(value)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    status = root.read(prefix)
    try:
        status.assert_existing_objects_matched()
    except AssertionError as error:
        folder.close()
        raise Mismatch(
            f"What was saved does not have all that TensorFlow tracks here: {error}",
            problems=(str(error),),
        ) from error
    try:
        status.assert_consumed()
        folder.close()
    except AssertionError:
        # What is made only later is read then.
        folder.close_with(value)
    return value


def _root_of(value: Any) -> Any:
    is_root = isinstance(value, tf.train.Checkpoint)
    return value if is_root else tf.train.Checkpoint(value=value)


def _opaque(prefix: str, name: str) -> dict[str, bytes]:
    """Return what TensorFlow alone can read, an iterator's state mostly, as it would write it."""
    [tensor] = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[tf.variant]
    )
    return {OPAQUE: tf.io.serialize_tensor(tensor).numpy()}


def _leaf(found: Any) -> Any:
    if isinstance(found, bytes | str):
        return found
    array = np.asarray(found)
    # Strings have no fixed size: a list of them has.
    return array.tolist() if array.dtype.hasobject else np.array(array, order="C")


def _tensors(tree: dict[Any, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{above}/{key}" if above else str(key)
        if isinstance(value, dict) and OPAQUE in value:
            yield name, tf.io.parse_tensor(value[OPAQUE], tf.variant)
        elif isinstance(value, dict):
            yield from _tensors(value, name)
        else:
            yield name, tf.constant(value)
