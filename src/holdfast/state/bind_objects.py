"""Objects that have a state of their own, bound to what was saved of one.

A framework may bind its own objects itself. Others are bound leaf by leaf, where their kind can
tell the leaves, or get new values, of which they are asked beforehand whether they take them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.errors import Mismatch
from holdfast.format.tree import KEYED
from holdfast.state import codecs, kinds, sharding
from holdfast.state.bind_arrays import standing_adapter
from holdfast.state.nodes import Node, plain_value
from holdfast.state.objects import objects_in
from holdfast.state.overlay import is_partial, overlay
from holdfast.state.paths import join
from holdfast.state.reads import Thunk
from holdfast.state.stateful import accessors, objection_to

if TYPE_CHECKING:
    from holdfast.state.bind import Binder

_told_by_leaves: list[Callable[[object], bool]] = []


def register_told_by_leaves(applies: Callable[[object], bool]) -> None:
    """Let objects take the state of another class: the paths of their leaves tell what fits."""
    _told_by_leaves.append(applies)


def takes_state_of(binder: Binder, node: Node, target: Any, path: str) -> bool:
    """Say whether an object can take the state of what was saved; note it if not.

    Modules can, whatever they are: their leaves tell what fits. Of an optimizer or a schedule
    the same names can mean other things, and it may need what the other does not have.
    """
    kind = kinds.kind_of(target)
    cls = type(target) if kind is None else kind.stands_for(target)
    saved, wanted = node.type_name.rpartition(":")[2], cls.__qualname__
    if saved == wanted or _is_told_by_leaves(target):
        return True
    binder.differing.append(f"{path!r}: saved from a {saved}, wanted a {wanted}")
    return False


def _is_told_by_leaves(target: object) -> bool:
    kind = kinds.kind_of(target)
    if kind is not None and kind.told_by_leaves:
        return True
    return any(applies(target) for applies in _told_by_leaves)


StatefulBinder = Callable[["Binder", Node, Any, str], Thunk]
_binders: list[tuple[Callable[[object], bool], StatefulBinder]] = []


def register_stateful_binder(applies: Callable[[object], bool], binder: StatefulBinder) -> None:
    """Let a framework bind its own objects with state, to restore them in place."""
    _binders.insert(0, (applies, binder))


def stateful_binder(target: object) -> StatefulBinder | None:
    """Return how an object is bound that has a state of its own; None where it has none."""
    if (kind := kinds.kind_of(target)) is not None:
        return kind.bind or _bind_kind
    if codecs.codec_of(type(target)) is not None or accessors(target) is None:
        return None
    if what := objection_to(target):
        return lambda binder, _node, _target, path: binder.problem(path, what)
    for applies, binder in _binders:
        if applies(target):
            return binder
    return _bind_any_stateful


def _bind_kind(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    kind = kinds.kind_of(target)
    assert kind is not None
    if node.kind not in KEYED:
        kind_name = node.kind.name.lower()
        return binder.problem(path, f"saved as {kind_name}, wanted a {type(target).__name__}")
    if kind.prepare is not None:
        useless = kind.prepare(target, node)
        children = [child for child in node.children if child.key not in useless]
        node = Node(node.kind, node.path, node.key, node.type_name, children)
    if kind.leafwise:
        make = binder.into(node, kind.take(target), path)
    else:
        live = kind.take(target)
        if kind.shapes_stay:
            _check_shapes(binder, node, live, path)
        make = overlay(node, live, binder.fresh) if is_partial(node) else binder.fresh(node)
    return lambda: kind.put(target, make())


def _check_shapes(binder: Binder, node: Node, live: Any, path: str) -> None:
    """Note the arrays that are of another shape or dtype than those of the same name here."""
    if isinstance(live, dict):
        for child in node.children:
            if child.key in live:
                _check_shapes(binder, child, live[child.key], join(path, child.key))
    elif node.row >= 0 and (adapter := standing_adapter(live)) is not None:
        saved, wanted = binder.spec(node.row), adapter.describe(live, path)[0]
        if not saved.is_like(wanted):
            binder.problem(path, f"saved as {saved}, wanted {wanted}")


def _bind_any_stateful(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    # Whether such an object's state is its own memory or a copy is not known: it gets new values.
    found = accessors(target)
    assert found is not None
    get, put = found
    live = get() if is_partial(node) or sharding.is_in_play() else None
    if is_partial(node):
        make = overlay(node, live, binder.fresh)
    elif any(sharding.held_of(value) is not None for value in objects_in(live)):
        # Whole arrays would be more than it takes, and than fits: its own shards are filled.
        make = binder.into(node, _to_be_filled(live), path)
    else:
        make = binder.fresh(node)
    check = getattr(target, "check_state_dict", None)
    if callable(check) and all(leaf.row < 0 for leaf in node.leaves()):
        try:
            check(make())
        except Mismatch as error:
            binder.problem(path, str(error))

    def load() -> Any:
        put(make())
        return target

    return load


def _to_be_filled(live: Any) -> Any:
    """Return a state of which only what lies on several ranks is filled; the rest is made anew.

    It may be one array by several names, as a count of steps, where others have saved several.
    """
    if isinstance(live, dict):
        return {key: _to_be_filled(value) for key, value in live.items()}
    if type(live) in (list, tuple):
        return type(live)(map(_to_be_filled, live))
    is_whole = sharding.held_of(live) is None and standing_adapter(live) is not None
    return None if is_whole else live


def custom_into(binder: Binder, node: Node, target: Any, path: str) -> Thunk:
    """Bind what a codec saved to a value that stands: updated, made alike, or replaced."""
    codec = codecs.codec_of(type(target))
    if codec is None or codec.name != node.type_name:
        return binder.fresh(node)
    if codec.update is None and not codec.alike:
        return binder.fresh(node)
    if codec.variant is not None:
        tree: Any = codec.encode(target)
        saved = next((c for c in node.children[0].children if c.key == codec.variant), None)
        if saved is not None and plain_value(saved) != tree[codec.variant]:
            return binder.problem(
                path, f"saved over {plain_value(saved)}, wanted over {tree[codec.variant]}"
            )
    if codec.update is None:
        inner = binder.into(node.children[0], codec.encode(target), path)
        return lambda: codec.decode(inner())
    update, make = codec.update, binder.fresh(node.children[0])

    def put() -> Any:
        update(target, make())
        return target

    return put
