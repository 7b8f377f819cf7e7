"""Containers as they were: tuples, named tuples, dataclasses and decoded values made anew.

No constructor is called and nothing is imported by name: classes must be loaded already.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import MissingDependency, UnknownType
from holdfast.format.tree import NodeKind
from holdfast.state import codecs, values
from holdfast.state.nodes import Node
from holdfast.state.packages import PACKAGES


def container(node: Node, children: Sequence[tuple[Node, Any]]) -> Any:
    """Return a new container of the kind that was saved, with the children given.

    Children that a filter left out are dropped from mappings and None in sequences.
    """
    kept = [(child.key, value) for child, value in children if child.kind != NodeKind.OMITTED]
    if node.kind == NodeKind.DICT:
        return dict(kept)
    if node.kind == NodeKind.ORDERED_DICT:
        return OrderedDict(kept)
    if node.kind == NodeKind.LIST:
        return [value for _, value in children]
    if node.kind == NodeKind.TUPLE:
        return tuple(value for _, value in children)
    if node.kind == NodeKind.STATEFUL:
        return children[0][1]
    if node.kind == NodeKind.CUSTOM:
        return _decoded(node, children[0][1])
    fields = {str(key): value for key, value in kept}
    if node.kind == NodeKind.NAMED_TUPLE:
        cls: Any = values.known_class(node.type_name, tuple, node.path)
        return tuple.__new__(cls, [fields.get(name) for name in cls._fields])
    return _dataclass(node, fields)


def require_class(node: Node) -> None:
    """Raise UnknownType where a container's class or codec is not there to make it anew."""
    if node.kind == NodeKind.CUSTOM:
        _codec(node)
    elif node.kind == NodeKind.NAMED_TUPLE:
        cls: Any = values.known_class(node.type_name, tuple, node.path)
        _require_fields(node, getattr(cls, "_fields", ()))
    elif node.kind == NodeKind.DATACLASS:
        _require_fields(node, [f.name for f in dataclasses.fields(_dataclass_of(node))])


def _require_fields(node: Node, known: Sequence[str]) -> None:
    # Fields that the checkpoint lacks may have been left out by a filter.
    gone = [str(child.key) for child in node.children if child.key not in known]
    if gone:
        raise UnknownType(
            f"{node.path!r} was saved as another version of {node.type_name}, with the fields "
            f"{', '.join(gone)}, which it does not have here. Give an object to load into with "
            "into=, or leave them out with skip=.",
            path=node.path,
            type_name=node.type_name,
        )


def _decoded(node: Node, tree: Any) -> Any:
    return _codec(node).decode(tree)


def _codec(node: Node) -> codecs.Codec:
    codec = codecs.codec_named(node.type_name)
    package = node.type_name.partition(":")[0]
    if codec is None and package in PACKAGES:
        raise MissingDependency(
            f"{node.path!r} was saved as an object of {package}, which is not installed or not "
            f"supported here: pip install 'holdfast[{package}]'. Or leave it out with "
            f"skip={node.path!r}.",
            path=node.path,
            package=package,
        )
    if codec is None:
        raise UnknownType(
            f"{node.path!r} was saved by the codec {node.type_name!r}, which is not registered "
            "here. Import the module that calls holdfast.register_codec for it, or leave the "
            "leaf out with skip=.",
            path=node.path,
            type_name=node.type_name,
        )
    return codec


def _dataclass_of(node: Node) -> Any:
    cls = values.known_class(node.type_name, None, node.path)
    if not dataclasses.is_dataclass(cls):
        raise UnknownType(
            f"{node.path!r} was saved as the dataclass {node.type_name}, which is none here.",
            path=node.path,
            type_name=node.type_name,
        )
    return cls


def _dataclass(node: Node, fields: Mapping[str, Any]) -> Any:
    cls = _dataclass_of(node)
    made = object.__new__(cls)
    for f in dataclasses.fields(cls):
        if f.name in fields:
            object.__setattr__(made, f.name, fields[f.name])
        elif f.default_factory is not dataclasses.MISSING:
            object.__setattr__(made, f.name, f.default_factory())
        elif f.default is not dataclasses.MISSING:
            object.__setattr__(made, f.name, f.default)
    return made


def replaced(instance: Any, changes: Mapping[str, Any]) -> Any:
    """Return a copy of a dataclass instance with some fields changed, no constructor called."""
    made = object.__new__(type(instance))
    for f in dataclasses.fields(instance):
        object.__setattr__(made, f.name, changes.get(f.name, getattr(instance, f.name)))
    return made


def like_tuple(target: tuple[Any, ...], elements: Sequence[Any]) -> tuple[Any, ...]:
    """Return a tuple of the class of target with other elements."""
    return tuple.__new__(type(target), elements)
