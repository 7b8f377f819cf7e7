"""Where a store is, and what it is opened with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.records.marker import check_share
from holdfast.records.opening import (
    Location,
    check_location,
    is_encrypted,
    is_there,
    open_store,
)
from holdfast.security.authenticity import NOBODY, Authenticity, authenticity
from holdfast.security.keys import Key, Keys, as_keys
from holdfast.security.signing import Signer
from holdfast.security.trust_policy import TrustPolicy
from holdfast.store.contract import ObjectStore
from holdfast.store.modes import Share


@dataclass(frozen=True, slots=True)
class Place:
    """A place for a store, whether or not there is one yet.

    Attributes:
        at: The absolute path of its folder, or what holds its objects.
        keys: What opens it if it is encrypted; None: nothing.
        authenticity: Who signs what is saved there, and whom to believe.
        share: Who else shall be able to use it; None: as it was made.
    """

    at: str | ObjectStore
    keys: tuple[Key, ...] | None = None
    authenticity: Authenticity = NOBODY
    share: Share | None = None

    @property
    def path(self) -> str:
        """The folder, or whatever else its location is."""
        return self.at.location if isinstance(self.at, ObjectStore) else self.at

    @property
    def is_there(self) -> bool:
        """Whether there is a store yet."""
        return is_there(self.at)

    @property
    def is_encrypted(self) -> bool:
        """Whether a key is needed; False too where there is no store yet."""
        return is_encrypted(self.at)

    def filled_up(self, other: Place) -> Place:
        """Return it with what it lacks taken from another."""
        mine, its = self.authenticity, other.authenticity
        return Place(
            self.at,
            self.keys or other.keys,
            Authenticity(mine.signers or its.signers, mine.trust or its.trust),
            self.share or other.share,
        )

    def open(self, *, create: bool = False) -> ObjectStore:
        """Open the store, making it first if asked to.

        Raises:
            NotFound: It is not there.
            KeyNeeded, WrongKey: It is encrypted, and the keys do not open it.
        """
        return open_store(self.at, create=create, keys=self.keys, share=self.share)

    def open_to_save(self, run: str) -> ObjectStore:
        """Open the store to save to a run, making it first if need be.

        Raises:
            Untrusted: The trust policy would not believe what the signers sign now.
        """
        self.authenticity.require_fit(run)
        return self.open(create=True)


def place_at(
    location: Location,
    *,
    keys: Keys | None = None,
    sign: Signer | Sequence[Signer] | None = None,
    trust: TrustPolicy | str | os.PathLike[str] | None = None,
    share: Share | None = None,
) -> Place:
    """Return the place at a location, with what users gave to open it.

    Raises:
        UsageError: One of them is not possible.
        NotFound, BadTrustFile: ``trust`` names a file that is not there or cannot be used.
    """
    checked = check_location(location)
    return Place(
        checked if isinstance(checked, ObjectStore) else os.path.abspath(checked),
        as_keys(keys) if keys is not None else None,
        authenticity(sign, trust),
        check_share(share) if share is not None else None,
    )
