"""What everything above the stores relies on; every store passes this one suite."""

from __future__ import annotations

import pytest

from holdfast.store.contract import ObjectStore
from holdfast.testing import Fault, FaultyStore, MemoryStore, plan_of, store_contract
from holdfast.testing.store_contract import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Check, store: ObjectStore) -> None:
    check(store)


ALWAYS = {"times": None}
# A fault that a store has all the time, and a check that tells.
BREACHES = [
    (Fault("short", on="put", **ALWAYS), "a_reader_reads_any_stretch"),
    (Fault("short", on="stage", **ALWAYS), "several_objects_are_published_together"),
    (Fault("short", on="append", **ALWAYS), "what_is_appended_follows_what_was_there"),
    (Fault("short", on="open", **ALWAYS), "several_threads_read_from_one_reader"),
    (Fault("late", on="put_hint"), "a_hint_is_there_at_once_and_can_be_taken_back"),
    (Fault("late", on="delete*", **ALWAYS), "deleting_removes_and_forgives"),
    (Fault("late", on="publish"), "a_staged_object_is_invisible_until_it_is_published"),
    (Fault("late", on="put", **ALWAYS), "folders_are_told_by_name"),
    (Fault("lost-ack", on="put_new", at=3), "of_racing_writers_exactly_one_puts_a_new_object"),
    (Fault("unavailable", on="read"), "an_uncached_read_gives_the_same_bytes"),
    (Fault("no-space", on="open_lock"), "a_lock_has_one_holder_and_tells_who"),
]


@pytest.mark.parametrize(("fault", "name"), BREACHES, ids=lambda value: str(value))
def test_a_store_that_breaks_the_contract_is_told_so(fault: Fault, name: str) -> None:
    found = store_contract.broken_rules(lambda: FaultyStore(MemoryStore(), plan_of(fault)))
    assert name in found, found
    assert len(found) < len(CHECKS) - 3


def test_a_store_that_keeps_the_contract_breaks_no_rule() -> None:
    assert store_contract.broken_rules(MemoryStore) == {}
