"""Names of Keras weights files, and how variables of a model's state find theirs.

In a weights file the variables of a layer are ``…/vars/0``, ``…/vars/1``, …, below a path that
Keras makes of attributes and classes; the layer's own name stands beside. The state of a model, as
``get_state_tree()`` gives it, knows layers by their names. A file of the same model tells which is
which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.convert.selection import NamedArray, NamedValue
from holdfast.errors import CannotConvert
from holdfast.foreign.arrays import ForeignArray

VARS = "vars"
# The branches of a state tree, in the order in which a layer saves its variables.
BRANCHES = (
    "trainable_variables",
    "non_trainable_variables",
    "optimizer_variables",
    "metrics_variables",
)

Leaf = NamedArray | NamedValue
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The variables of one layer in a weights file: where, of which layer, of which shapes."""

    path: str
    layer: str
    keys: tuple[str, ...]
    shapes: Shapes


def is_state_tree(leaves: Sequence[Leaf]) -> bool:
    """Say whether leaves have the names of a model's state, not of a weights file."""
    return all(leaf.name.split("/")[0] in BRANCHES for leaf in leaves)


def require_weights(arrays: Sequence[NamedArray]) -> None:
    """Raise CannotConvert where an array has no name of a weights file."""
    for array in arrays:
        parts = array.name.split("/")
        if len(parts) < 2 or parts[-2] != VARS:
            raise CannotConvert(
                f"{array.name!r} is no name of a Keras weights file, where variables are called "
                "'…/vars/0', '…/vars/1'. Nothing was written. For the state of a model give a "
                "weights file of the same model, --option like=FILE, and --root for where the "
                "state begins; or change names with --rename.",
                name=array.name,
            )


def groups_of(tree: Mapping[str, Any], path: str = "") -> Iterator[Group]:
    """Yield the groups of variables of a weights file that was read."""
    for name, member in tree.items():
        below = f"{path}/{name}" if path else name
        if not isinstance(member, Mapping):
            continue
        if name == VARS:
            found = {key: a for key, a in member.items() if isinstance(a, ForeignArray)}
            keys = sorted(found, key=lambda key: (len(key), key))
            shapes = tuple(found[key].shape for key in keys)
            yield Group(below, str(member.get("name", "")), tuple(keys), shapes)
        else:
            yield from groups_of(member, below)


def as_weights(leaves: Sequence[Leaf], groups: Sequence[Group]) -> list[Leaf]:
    """Return what a model's state holds under the names of a weights file.

    Args:
        leaves: The state, in its order; names are ``branch/…/layer/variable``. A plain number is a
            variable, too.
        groups: Of a weights file of the same model.

    Raises:
        CannotConvert: A layer of one has no counterpart in the other.
    """
    layers: dict[str, list[Leaf]] = {}
    for branch in BRANCHES:
        for leaf in leaves:
            first, _, rest = leaf.name.partition("/")
            if first == branch:
                layers.setdefault(rest.rpartition("/")[0], []).append(leaf)
    left = [group for group in groups if group.keys]
    made: list[Leaf] = []
    for path, variables in layers.items():
        group = _counterpart(path, variables, left)
        left.remove(group)
        names = [f"{group.path}/{key}" for key in group.keys]
        made += [replace(leaf, name=name) for leaf, name in zip(variables, names, strict=True)]
    if left:
        raise CannotConvert(
            f"The weights file has {left[0].path!r} (of {left[0].layer!r}), for which the state "
            "has nothing. Nothing was written. Is it of the same model?",
            name=left[0].path,
        )
    return made


def _counterpart(path: str, variables: Sequence[Leaf], groups: Sequence[Group]) -> Group:
    shapes = tuple(v.array.shape if isinstance(v, NamedArray) else () for v in variables)
    layer = path.rpartition("/")[2]
    for group in groups:
        if group.layer == layer and group.shapes == shapes:
            return group
    raise CannotConvert(
        f"The weights file has no layer {layer!r} with variables of {', '.join(map(str, shapes))}, "
        f"which the state has at {variables[0].name!r}. Nothing was written. Is it of the same "
        f"model? What such files do not hold is left out with --skip '**/{path}/*'.",
        name=variables[0].name,
    )
