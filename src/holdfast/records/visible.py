"""Objects that others must be able to see before the next step is taken.

Stores promise that what was written is seen at once. A store that breaks the promise, a cache in
front of it that does, would cost data: a sweep takes the packs of a commit that it does not see
for debris. To look costs next to nothing.
"""

from __future__ import annotations

import time

from holdfast.errors import HoldfastError, StoreUnavailable
from holdfast.store.contract import ObjectStore

PATIENCE_S = 10.0
_POLL_S = 0.005


def wait_until_seen(store: ObjectStore, key: str) -> None:
    """Wait until an object is seen that was written just now.

    Raises:
        StoreUnavailable: It is not, after ten seconds.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while not _may_be_seen(store, key):
        if time.monotonic() > deadline_s:
            raise StoreUnavailable(
                f"The store at {store.location!r} has taken {key!r}, but does not show it after "
                f"{PATIENCE_S:.0f} s. Others may not see it either. Checkpoints before are not "
                "affected; do not prune here before 'holdfast log' shows this one.",
                key=key,
            )
        time.sleep(_POLL_S)


def _may_be_seen(store: ObjectStore, key: str) -> bool:
    try:
        return store.exists(key)
    except HoldfastError:
        # The store has taken it; that it cannot be asked just now changes nothing.
        return True
