"""The tiers of a run as the trainer has them: what the persister is told, where restores look."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from holdfast.distributed.ranks import Ranks
from holdfast.engine import remote_signing
from holdfast.engine.client import NO_TIERS
from holdfast.engine.tiers.beside import open_beside
from holdfast.engine.tiers.kinds import HOME, MEMORY, FarTier, check_tiers
from holdfast.engine.tiers.memory_folder import memory_folder
from holdfast.errors import HoldfastError, NotFound, UsageError
from holdfast.policy.text import format_keep
from holdfast.policy.when import SavePolicy
from holdfast.records.opening import objects_at
from holdfast.sealed.store import SealedStore
from holdfast.security.authenticity import Authenticity
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.recipe import recipe_of, to_message

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Source:
    """A store that a run may be restored from.

    Attributes:
        tier: What it is called.
        store: Where it is.
        trust: Whom to believe there.
    """

    tier: str
    store: ObjectStore
    trust: TrustPolicy | None


@final
class Beside:
    """The tiers of a run.

    Args:
        run: Its name.
        tiers: What the user asked for.
        home: The run's own store.
        authenticity: Who signs at home, and whom to believe.
        at_once: How many checkpoints may be on their way from memory.
        ranks: Those that save together; None: this process does alone.

    Raises:
        UsageError: They are no tiers, or cannot be.
        Untrusted: The trust policy of one would not believe who signs.
        StoreUnavailable: The memory tier cannot be made.
    """

    def __init__(
        self,
        run: str,
        tiers: object,
        home: ObjectStore,
        authenticity: Authenticity,
        at_once: int,
        ranks: Ranks | None,
    ) -> None:
        near, self._far = check_tiers(tiers, is_together=ranks is not None)
        self._home, self._authenticity = home, authenticity
        self._near, self._at_once = near, at_once
        self._memory: ObjectStore | None = None
        if near is not None:
            folder = memory_folder(home, near.folder)
            self._memory = open_beside(LocalStore(folder), home, create=True)
        for tier in self._far:
            _check_far(tier, home)
            self._authenticity_of(tier).require_fit(run)

    @property
    def policies(self) -> Mapping[str, SavePolicy | None]:
        """When each tier asks for a checkpoint, by its name."""
        named = {tier.name: tier.save for tier in self._far}
        return named if self._near is None else {**named, MEMORY: self._near.save}

    def message(self) -> Mapping[str, Any]:
        """Return what the persister has to know."""
        if self._near is None and not self._far:
            return NO_TIERS
        memory = None
        if self._near is not None and self._memory is not None:
            memory = {
                "store": to_message(recipe_of(self._memory)),
                "keep": format_keep(self._near.keep),
                "at_once": self._at_once,
            }
        wait_s = max((tier.wait_s for tier in self._far), default=0.0)
        return {"memory": memory, "far": [self._told(t) for t in self._far], "wait_s": wait_s}

    def sources(self) -> tuple[list[Source], dict[str, HoldfastError]]:
        """Return where to restore from, nearest first, and what cannot be reached now, and why."""
        # The head that a policy knows is one of home's: others have numbers of their own.
        trust = _headless(self._authenticity.trust)
        found = [Source(HOME, self._home, self._authenticity.trust)]
        if self._memory is not None:
            found.insert(0, Source(MEMORY, self._memory, trust))
        absent: dict[str, HoldfastError] = {}
        for tier in self._far:
            try:
                store = open_beside(_objects_of(tier), self._home, create=False)
                found.append(Source(tier.name, store, self._authenticity_of(tier).trust))
            except NotFound:
                continue
            except HoldfastError as error:
                absent[tier.name] = error
        return found, absent

    def _told(self, tier: FarTier) -> dict[str, Any]:
        return {
            "name": tier.name,
            "store": to_message(recipe_of(_objects_of(tier))),
            "keep": format_keep(tier.keep) if tier.keep is not None else [],
            "bandwidth_bytes_s": tier.bandwidth_bytes_s,
            "authenticity": remote_signing.to_message(self._authenticity_of(tier)),
        }

    def _authenticity_of(self, tier: FarTier) -> Authenticity:
        own, at_home = tier.place.authenticity, self._authenticity
        return Authenticity(own.signers or at_home.signers, own.trust or _headless(at_home.trust))


def _objects_of(tier: FarTier) -> ObjectStore:
    objects, share = objects_at(tier.place.at), tier.place.share
    if share is None or not isinstance(objects, LocalStore):
        return objects
    return LocalStore(objects.location, share)


def _headless(trust: TrustPolicy | None) -> TrustPolicy | None:
    return None if trust is None else replace(trust, heads={})


def _check_far(tier: FarTier, home: ObjectStore) -> None:
    if tier.place.path == home.location:
        raise UsageError(f"tier.far({home.location!r}) is the store itself.")
    if tier.place.keys is not None and not isinstance(home, SealedStore):
        raise UsageError(
            "An encrypted far tier belongs to an encrypted store: packs go there as they are. "
            "Encrypt the store itself too, or copy by hand: Store(…).copy(ref, Store(…, keys=…))."
        )
