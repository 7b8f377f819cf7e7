"""Checkpoints for machine-learning training.

Never lose training progress, always know what each checkpoint is, trust what you load, pay almost
nothing for it. ``Checkpointer`` is for a training run, ``save`` and ``load`` for one checkpoint,
``Store`` for what is there. ``holdfast.testing`` has what tests need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from holdfast.version import __version__

if TYPE_CHECKING:
    from holdfast import convert, data, errors, foreign, signing, testing, tier, trust
    from holdfast.checkpointer import Checkpointer
    from holdfast.distributed.hosts import Peers
    from holdfast.effectiveness.adaptive import adaptive
    from holdfast.engine.handle import SaveHandle
    from holdfast.engine.ledger import SaveTimes
    from holdfast.history.info import CheckpointInfo, LeafInfo
    from holdfast.oneshot import load, save
    from holdfast.policy import watch
    from holdfast.policy.keep import keep
    from holdfast.policy.when import every, on
    from holdfast.previewing import preview
    from holdfast.repository import Store
    from holdfast.restored import Restored
    from holdfast.security import keys
    from holdfast.state import presets as only
    from holdfast.state.codecs import register_codec
    from holdfast.store.remote import RemoteStore

# Where each public name is. They are imported when first used, so that a script which only may
# save a checkpoint starts as fast as before.
_HOMES = {
    "CheckpointInfo": "holdfast.history.info",
    "Checkpointer": "holdfast.checkpointer",
    "LeafInfo": "holdfast.history.info",
    "Peers": "holdfast.distributed.hosts",
    "RemoteStore": "holdfast.store.remote",
    "Restored": "holdfast.restored",
    "SaveHandle": "holdfast.engine.handle",
    "SaveTimes": "holdfast.engine.ledger",
    "Store": "holdfast.repository",
    "adaptive": "holdfast.effectiveness.adaptive",
    "every": "holdfast.policy.when",
    "keep": "holdfast.policy.keep",
    "load": "holdfast.oneshot",
    "on": "holdfast.policy.when",
    "preview": "holdfast.previewing",
    "register_codec": "holdfast.state.codecs",
    "save": "holdfast.oneshot",
}
_MODULES = {
    "convert": "holdfast.convert",
    "data": "holdfast.data",
    "errors": "holdfast.errors",
    "foreign": "holdfast.foreign",
    "keys": "holdfast.security.keys",
    "only": "holdfast.state.presets",
    "signing": "holdfast.signing",
    "testing": "holdfast.testing",
    "tier": "holdfast.tier",
    "trust": "holdfast.trust",
    "watch": "holdfast.policy.watch",
}

# Drop-ins for frameworks. They are not in ``__all__``: ``import *`` would import the frameworks.
_INTEGRATIONS = (
    *("accelerate", "dcp", "huggingface", "lightning", "torchtitan"),
    *("jax", "keras", "tensorflow"),
    *("mlflow", "ray", "wandb"),
)

__all__ = [
    "CheckpointInfo",
    "Checkpointer",
    "LeafInfo",
    "Peers",
    "RemoteStore",
    "Restored",
    "SaveHandle",
    "SaveTimes",
    "Store",
    "__version__",
    "adaptive",
    "convert",
    "data",
    "errors",
    "every",
    "foreign",
    "keep",
    "keys",
    "load",
    "on",
    "only",
    "preview",
    "register_codec",
    "save",
    "signing",
    "testing",
    "tier",
    "trust",
    "watch",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _INTEGRATIONS:
        return importlib.import_module(f"holdfast.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
