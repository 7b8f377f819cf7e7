"""The Protocol Buffers messages of TensorFlow's checkpoints, as far as they are needed.

Fields are those of ``tensor_bundle.proto``, ``tensor_shape.proto``,
``tensor_slice.proto``, ``versions.proto`` and ``trackable_object_graph.proto`` of TensorFlow.
"""

from __future__ import annotations

from typing import Any

from holdfast.foreign.protobuf_messages import Messages, message_classes

_MESSAGES: Messages = {
    "Version": {"producer": (1, "int32"), "min_consumer": (2, "int32")},
    "BundleHeader": {
        "num_shards": (1, "int32"),
        "endianness": (2, "int32"),
        "version": (3, "Version"),
    },
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Extent": {"start": (1, "int64"), "length": (2, "int64")},
    "Slice": {"extent": (1, "*Extent")},
    "BundleEntry": {
        "dtype": (1, "int32"),
        "shape": (2, "Shape"),
        "shard_id": (3, "int32"),
        "offset": (4, "int64"),
        "size": (5, "int64"),
        "crc32c": (6, "fixed32"),
        "slices": (7, "*Slice"),
    },
    "Child": {"node_id": (1, "int32"), "local_name": (2, "string")},
    "Attribute": {
        "name": (1, "string"),
        "full_name": (2, "string"),
        "checkpoint_key": (3, "string"),
    },
    "Slot": {
        "original_variable_node_id": (1, "int32"),
        "slot_name": (2, "string"),
        "slot_variable_node_id": (3, "int32"),
    },
    "Flag": {"value": (1, "bool")},
    "Node": {
        "children": (1, "*Child"),
        "attributes": (2, "*Attribute"),
        "slot_variables": (3, "*Slot"),
        "has_checkpoint_values": (5, "Flag"),
    },
    "ObjectGraph": {"nodes": (1, "*Node")},
}
# A length that is not there is the whole dimension; a checksum is there, also where it is zero, so
# that the size of an index does not depend on it.
_PRESENCE = {("Extent", "length"), ("BundleEntry", "crc32c")}


_class = message_classes("tensorflow", _MESSAGES, _PRESENCE)

BundleHeader: Any = _class("BundleHeader")
BundleEntry: Any = _class("BundleEntry")
ObjectGraph: Any = _class("ObjectGraph")
