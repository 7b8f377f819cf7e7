"""Protocol Buffers messages of other tools, built from descriptors that are written here.

They live in a pool of their own, so that the tool need not be there, and is not in the way if it
is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "bool": _Field.TYPE_BOOL,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "fixed32": _Field.TYPE_FIXED32,
}
# A message: by field its number and type; a star before the type is a repeated one.
Messages = Mapping[str, Mapping[str, tuple[int, str]]]


def message_classes(
    name: str, messages: Messages, presence: Collection[tuple[str, str]] = ()
) -> Callable[[str], Any]:
    """Return what gives the classes of messages, by their names.

    Args:
        name: Of the tool, in lower case.
        messages: The messages; types that are none of Protocol Buffers are messages among them.
            Enums are int32: their bytes are the same, and a number that is new is no error.
        presence: Message and field of those that may be there with the value zero, too.
    """
    package = f"holdfast.{name}"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"holdfast/{name}.proto", package=package, syntax="proto3"
    )
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        for field, (number, kind) in fields.items():
            made = message.field.add(name=field, number=number)
            _set_type(made, kind, package)
            if (message_name, field) in presence:
                message.oneof_decl.add(name=f"_{field}")
                made.oneof_index, made.proto3_optional = 0, True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)

    def cls(message_name: str) -> Any:
        return message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.{message_name}")
        )

    return cls


def _set_type(field: descriptor_pb2.FieldDescriptorProto, kind: str, package: str) -> None:
    repeated = kind.startswith("*")
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    kind = kind.removeprefix("*")
    if kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
