"""The graph of saved objects: what leads from the root to each variable, by which names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from holdfast.convert.tensorflow.messages import ObjectGraph
from holdfast.convert.tensorflow.names import ATTRIBUTES, SLOTS, local_name


def graph_of(keys: Sequence[str]) -> bytes:
    """Return the graph of objects that keys of checkpoints speak of: a node for each part of a way.

    A key with a slot in it, ``variable/.OPTIMIZER_SLOT/optimizer/name``, is a slot of the
    optimizer.
    """
    made = _Graph()
    for key in keys:
        way, _, attribute = key.rpartition(ATTRIBUTES)
        variable, slot, rest = way.partition(f"/{SLOTS}/")
        node = made.slot(variable, rest) if slot else made.node(way)
        made.message.nodes[node].attributes.add(
            name=attribute, full_name=local_name(way), checkpoint_key=key
        )
    for node_ in made.message.nodes:
        node_.has_checkpoint_values.value = True
    return bytes(made.message.SerializeToString(deterministic=True))


class _Graph:
    def __init__(self) -> None:
        self.message: Any = ObjectGraph()
        self._nodes = {"": self._new()}

    def _new(self) -> int:
        self.message.nodes.add()
        return len(self.message.nodes) - 1

    def node(self, way: str) -> int:
        """Return the number of the node at the end of a way, made if it is not there."""
        if way not in self._nodes:
            above, _, last = way.rpartition("/")
            parent, made = self.node(above), self._new()
            self._nodes[way] = made
            self.message.nodes[parent].children.add(node_id=made, local_name=local_name(last))
        return self._nodes[way]

    def slot(self, variable: str, rest: str) -> int:
        """Return the number of a new node: a slot of what is at the end of ``rest`` but a part."""
        optimizer, _, name = rest.rpartition("/")
        owner, original, made = self.node(optimizer), self.node(variable), self._new()
        self.message.nodes[owner].slot_variables.add(
            original_variable_node_id=original,
            slot_name=local_name(name),
            slot_variable_node_id=made,
        )
        return made


def keys_of(graph: bytes) -> set[str] | None:
    """Return the keys that a graph speaks of; None where it is none."""
    try:
        nodes = ObjectGraph.FromString(graph).nodes
    except DecodeError:
        return None
    return {attribute.checkpoint_key for node in nodes for attribute in node.attributes}


def speaks_of(graph: bytes, keys: Collection[str]) -> bool:
    """Say whether a graph speaks of keys, all of them and no other."""
    return keys_of(graph) == set(keys)
