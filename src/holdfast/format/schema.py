"""The Protocol Buffers messages of a part manifest, built from the compiled descriptor.

Generated Python code is bound to a range of protobuf versions; the descriptor is not, so that
holdfast lives beside whatever version a framework asks for. ``make proto`` renews it.
"""

from __future__ import annotations

import pkgutil
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _classes() -> tuple[Any, Any]:
    data = pkgutil.get_data("holdfast.format", "manifest.binpb")
    assert data is not None, "the package's loader gives no files"
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
