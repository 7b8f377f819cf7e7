"""Event files of TensorBoard: records, each with its length and checksums, of one event.

Events are those of ``event.proto`` and ``summary.proto`` of TensorFlow. A metric is a scalar of 64
bits; TensorBoard's own writers round to 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.convert.checksums import masked_checksum
from holdfast.convert.protobuf_messages import Messages, message_classes
from holdfast.convert.tensorflow.element_types import NUMBERS, STRING

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
    "Value": {"tag": (1, "string"), "tensor": (8, "Tensor"), "metadata": (9, "Metadata")},
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
# The classes of data in summary.proto.
_CLASS_SCALAR, _CLASS_TENSOR = 1, 2


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
        scalars: Values by the names that they have in TensorBoard.
        texts: Texts by their names, in Markdown.
    """
    made = Event(wall_time=time_s, step=step)
    for name, number in scalars.items():
        tensor = _value(made, name, "scalars", _CLASS_SCALAR)
        tensor.dtype = NUMBERS["float64"]
        tensor.double_val.append(number)
    for name, text in texts.items():
        tensor = _value(made, name, "text", _CLASS_TENSOR)
        tensor.dtype = STRING
        tensor.string_val.append(text.encode("utf-8", "replace"))
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
