"""The Protocol Buffers messages of TensorFlow's checkpoints, as far as they are needed.

Built from descriptors written here, in a pool of their own: TensorFlow need not be there, and is
not in the way if it is. Fields are those of ``tensor_bundle.proto``, ``tensor_shape.proto``,
``tensor_slice.proto``, ``versions.proto`` and ``trackable_object_graph.proto`` of TensorFlow.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "holdfast.tensorflow"
_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "fixed32": _Field.TYPE_FIXED32,
}
# Message: field: number, type; a star before the type is a repeated one. Enums are int32 here:
# their bytes are the same, and a number that is new is no error.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
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


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="holdfast/tensorflow.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            made = message.field.add(name=field, number=number)
            repeated = kind.startswith("*")
            made.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            if kind in _TYPES:
                made.type = _TYPES[kind]
            else:
                made.type, made.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            if (name, field) in _PRESENCE:
                message.oneof_decl.add(name=f"_{field}")
                made.oneof_index, made.proto3_optional = 0, True
    return file


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())

BundleHeader: Any = _class("BundleHeader")
BundleEntry: Any = _class("BundleEntry")
ObjectGraph: Any = _class("ObjectGraph")
