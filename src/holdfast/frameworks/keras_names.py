"""Names for Keras variables that are the same in every process that builds the same model.

Keras numbers the layers that got no name of their own through a whole process: the second model
that a script builds has a ``dense_3`` where the first had a ``dense``. Such names are counted anew
within each model; those that a user gave stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from holdfast.state.paths import put_at

_NUMBER = re.compile(r"_\d+$")


def nested(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return values by their names, parted at ``/``; a name that comes twice gets a number."""
    tree: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for name, value in pairs:
        seen[name] += 1
        full = name if seen[name] == 1 else f"{name}#{seen[name]}"
        put_at(tree, full.split("/"), value)
    return tree


def flat(tree: dict[str, Any]) -> list[Any]:
    """Return the values of a nested dict in order."""
    out: list[Any] = []
    for value in tree.values():
        out += flat(value) if isinstance(value, dict) else [value]
    return out


def layer_names(layers: Sequence[Any], root: Any) -> dict[str, str]:
    """Return what each layer's name is to become; the root's own name becomes empty."""
    counted: Counter[str] = Counter()
    names: dict[str, str] = {root.name: ""}
    for layer in layers:
        if layer is root or layer.name in names:
            continue
        base = snake_case(type(layer).__name__)
        if _NUMBER.sub("", layer.name) == base:
            names[layer.name] = _counted(base, counted)
        else:
            names[layer.name] = layer.name
    return names


def variable_names(variables: Sequence[Any], names: dict[str, str]) -> list[str]:
    """Return a name for each variable of a model, of the names that its layers are to have."""
    counted: Counter[str] = Counter()
    known = dict(names)
    out = []
    for variable in variables:
        *way, last = variable.path.split("/")
        for part in way:
            base = _NUMBER.sub("", part)
            if part not in known:
                # What is no layer: the generators of dropout and augmentation, mostly.
                is_generator = base == "seed_generator"
                known[part] = _counted(base, counted) if is_generator else part
        out.append("/".join([known[part] for part in way if known[part]] + [last]))
    return out


def slot_names(variables: Sequence[Any], trained: Sequence[Any]) -> list[str]:
    """Return a name for each variable of an optimizer: what it is, or ``slots/INDEX/WHAT``.

    Args:
        variables: The optimizer's own.
        trained: What it trains, in the order that it was built with.
    """
    owners: dict[str, list[int]] = {}
    for i, variable in enumerate(trained):
        owners.setdefault(variable.path.replace("/", "_") + "_", []).append(i)
    longest_first = sorted(owners, key=len, reverse=True)
    used: Counter[str] = Counter()
    out = []
    for variable in variables:
        last = variable.path.rpartition("/")[2]
        prefix = next((prefix for prefix in longest_first if last.startswith(prefix)), None)
        if prefix is None:
            out.append(last)
            continue
        # Variables of the same path are told apart by their order.
        index = owners[prefix][min(used[last], len(owners[prefix]) - 1)]
        used[last] += 1
        out.append(f"slots/{index}/{last.removeprefix(prefix)}")
    return out


def snake_case(name: str) -> str:
    """Return the name that Keras makes of a class.

    >>> snake_case("BatchNormalization"), snake_case("Conv2D"), snake_case("LSTMCell")
    ('batch_normalization', 'conv2d', 'lstm_cell')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _counted(base: str, counted: Counter[str]) -> str:
    counted[base] += 1
    return base if counted[base] == 1 else f"{base}_{counted[base] - 1}"
