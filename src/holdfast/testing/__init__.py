"""What others need to test against holdfast: stores that fail, and processes that are killed.

- ``FaultyStore`` does to any store what disks and networks do to it, by a plan.
- ``MemoryStore`` is the contract of a store and nothing else.
- ``killing`` ends a process before, within or after every change that it makes to a folder.
- ``store_contract`` is what the author of another store runs against it.

Nothing in holdfast imports this package; nothing of it is needed in production.
"""

from __future__ import annotations

from holdfast.testing import killing, store_contract
from holdfast.testing.fault_plan import Fault, FaultPlan, plan_of
from holdfast.testing.faulty import FaultyStore
from holdfast.testing.memory import MemoryStore

__all__ = [
    "Fault",
    "FaultPlan",
    "FaultyStore",
    "MemoryStore",
    "killing",
    "plan_of",
    "store_contract",
]
