"""Event files of TensorBoard: records, each with its length and checksums, of one event.

Events are those of ``event.proto`` and ``summary.proto`` of TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from holdfast.foreign.checksums import masked_checksum
from holdfast.foreign.protobuf_messages import Messages, message_classes
from holdfast.foreign.same_bytes import require_same

# For what finds or makes names of event files; TensorBoard knows them by it.
PREFIX = "events.out.tfevents."

_MESSAGES: Messages = {
    "Shape": {},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "double_val": (6, "*double"),
        "string_val": (8, "*bytes"),
    },
    "PluginData": {"plugin_name": (1, "string"), "content": (2, "bytes")},
    "Metadata": {"plugin_data": (1, "PluginData"), "data_class": (4, "int32")},
    "Value": {
        "tag": (1, "string"),
        "simple_value": (2, "float"),
        "tensor": (8, "Tensor"),
        "metadata": (9, "Metadata"),
    },
    "Summary": {"value": (1, "*Value")},
    "Event": {
        "wall_time": (1, "double"),
        "step": (2, "int64"),
        "file_version": (3, "string"),
        "summary": (5, "Summary"),
    },
}
_class = message_classes("tensorboard", _MESSAGES)
Event: Any = _class("Event")

_VERSION = "brain.Event:2"
# By their numbers in types.proto, and the classes of data in summary.proto.
_DOUBLE, _STRING = 2, 7
_CLASS_SCALAR, _CLASS_TENSOR = 1, 2
_PIECE_BYTES = 1 << 20


def beginning(time_s: float) -> bytes:
    """Return the record that an event file begins with; times are in seconds since 1970."""
    return record(Event(wall_time=time_s, file_version=_VERSION))


def event(
    step: int, time_s: float, scalars: Mapping[str, float], texts: Mapping[str, str]
) -> bytes:
    """Return the record of what there is to tell of a step.

    Args:
        step: The step.
        time_s: When it was, in seconds since 1970.
        scalars: Values by the names that they have in TensorBoard; all of their 64 bits are kept.
        texts: Texts by their names, in Markdown.
    """
    made = Event(wall_time=time_s, step=step)
    for name, number in scalars.items():
        tensor = _value(made, name, "scalars", _CLASS_SCALAR)
        tensor.dtype = _DOUBLE
        tensor.double_val.append(number)
    for name, text in texts.items():
        tensor = _value(made, name, "text", _CLASS_TENSOR)
        tensor.dtype = _STRING
        tensor.string_val.append(text.encode("utf-8", "replace"))
    return record(made)


def simple_event(step: int, time_s: float, scalars: Mapping[str, float]) -> bytes:
    """Return the record of scalars in 32 bits, as TensorBoard's own writers put them down.

    Tools that read no tensors find these as well.
    """
    made = Event(wall_time=time_s, step=step)
    for name, number in scalars.items():
        made.summary.value.add(tag=name, simple_value=number)
    return record(made)


def _value(made: Any, name: str, plugin: str, data_class: int) -> Any:
    value = made.summary.value.add(tag=name)
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.data_class = data_class
    # No dimensions, which is another thing than an unknown shape.
    value.tensor.tensor_shape.SetInParent()
    return value.tensor


def record(message: Any) -> bytes:
    """Return a message as a record."""
    data: bytes = message.SerializeToString(deterministic=True)
    length = len(data).to_bytes(8, "little")
    return length + masked_checksum(length) + data + masked_checksum(data)


def write(path: Path, records: Iterable[bytes]) -> int:
    """Write records, make them durable, read them back; return how many bytes they are.

    Nothing is left where that fails.

    Raises:
        FileExistsError: There is such a file.
        IncompleteWrite: What is read back is something else.
    """
    with path.open("xb") as file:
        try:
            return _written(file, path, records)
        except BaseException:
            path.unlink()
            raise


def _written(file: BinaryIO, path: Path, records: Iterable[bytes]) -> int:
    digest, nbytes = xxhash.xxh3_64(), 0
    for data in records:
        file.write(data)
        digest.update(data)
        nbytes += len(data)
    file.flush()
    os.fsync(file.fileno())
    with path.open("rb") as back:
        pieces = iter(lambda: back.read(_PIECE_BYTES), b"")
        require_same(pieces, digest.intdigest(), nbytes)
    return nbytes
