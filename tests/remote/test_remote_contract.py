"""A bucket keeps the contract of stores, plain and sealed."""

from __future__ import annotations

import pytest

from holdfast.sealed.store import SealedStore
from holdfast.security.keyring import Keyring
from holdfast.security.unlocked import Unlocked
from holdfast.store.remote import RemoteStore
from holdfast.testing.store_contract import CHECKS, Check

UNLOCKED = Unlocked("0" * 32, 1, bytes(32), Keyring(b"r" * 32, {1: b"g" * 32}))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Check, store: RemoteStore) -> None:
    check(store)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract_sealed(check: Check, store: RemoteStore) -> None:
    check(SealedStore(store, UNLOCKED))
