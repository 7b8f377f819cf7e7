"""The Protocol Buffers messages of a part manifest, built from the compiled descriptor.

Generated Python code is bound to a range of protobuf versions; the descriptor is not, so that
holdfast lives beside whatever version a framework asks for. ``make proto`` renews it.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _classes() -> tuple[Any, Any]:
    data = resources.files("holdfast.format").joinpath("manifest.binpb").read_bytes()
    files = descriptor_pb2.FileDescriptorSet.FromString(data)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    found = (pool.FindMessageTypeByName(f"holdfast.v1.{name}") for name in ("Part", "Tree"))
    part, tree = map(message_factory.GetMessageClass, found)
    return part, tree


PartMessage: Any
TreeMessage: Any
PartMessage, TreeMessage = _classes()
