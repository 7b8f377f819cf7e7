"""Names of variables and the keys that they have in a checkpoint of objects.

The key of a variable is the way to it from the root of the saved objects, then what is saved of it:
``model/layer-0/kernel/.ATTRIBUTES/VARIABLE_VALUE``. A dot within a part of the way is written as
two. Ours is the way. A checkpoint of names (of ``tf.compat.v1.train.Saver``) has names and no more.
"""

from __future__ import annotations

import re

ATTRIBUTES = "/.ATTRIBUTES/"
VALUE = "VARIABLE_VALUE"
SLOTS = ".OPTIMIZER_SLOT"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

_ESCAPED = re.compile(r"(?:[^.]|\.\.)*")


def name_of(key: str) -> str:
    """Return the name of what has a key.

    Of what is no variable's value, and of what has a slash in a part of its way, that is the key.

    >>> name_of("model/v..1/.ATTRIBUTES/VARIABLE_VALUE"), name_of("dense/kernel")
    ('model/v.1', 'dense/kernel')
    >>> name_of("model/a.Sb/.ATTRIBUTES/VARIABLE_VALUE")
    'model/a.Sb/.ATTRIBUTES/VARIABLE_VALUE'
    """
    if not key.endswith(ATTRIBUTES + VALUE):
        return key
    parts = key.removesuffix(ATTRIBUTES + VALUE).split("/")
    if not all(p == SLOTS or _ESCAPED.fullmatch(p) for p in parts):
        return key
    return "/".join(p.replace("..", ".") if p != SLOTS else p for p in parts)


def key_of(name: str) -> str:
    """Return the key of a variable of a name.

    >>> key_of("model/v.1")
    'model/v..1/.ATTRIBUTES/VARIABLE_VALUE'
    """
    if ATTRIBUTES in name:
        return name
    parts = (p if p == SLOTS else p.replace(".", "..") for p in name.split("/"))
    return "/".join(parts) + ATTRIBUTES + VALUE


def local_name(part: str) -> str:
    """Return how an object calls its child, from a part of a key."""
    return re.sub(r"\.(.)", lambda found: "/" if found[1] == "S" else found[1], part)
