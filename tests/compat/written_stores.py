"""The stores that releases have written, what is to be read from each, and how each is opened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import holdfast
from holdfast import Store

STORES = Path(__file__).with_name("stores")


class Written(NamedTuple):
    """A store of a release, in a copy of its own."""

    name: str
    folder: Path
    store: Store
    expected: dict[str, dict[str, Any]]


def releases() -> dict[str, dict[str, Any]]:
    """Return what is to be read, by release and by store."""
    return {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for path in sorted(STORES.glob("*/expected.json"))
    }


def opened(folder: Path, name: str) -> Store:
    """Return a store with what its name says that it takes to open it."""
    if name == "bundle":
        return Store(folder / "bundle.holdfast")
    if name == "encrypted":
        key = folder / "test.key"
        os.chmod(key, 0o600)  # Git keeps no modes.
        return Store(folder / name, keys=holdfast.keys.identity(key))
    if name == "signed":
        public = folder / "signer.pem.pub"
        os.chmod(public, 0o644)
        policy = holdfast.trust.policy(holdfast.trust.key(public))
        return Store(folder / name, trust=policy)
    return Store(folder / name)
