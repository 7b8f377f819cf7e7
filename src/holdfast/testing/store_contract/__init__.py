"""What everything above the stores relies on, as checks that every store must pass.

Each check is a function that takes a store, new and empty, and raises ``AssertionError`` where
the store does not keep the contract (``holdfast.store.contract``). With pytest:

    @pytest.mark.parametrize("check", store_contract.CHECKS, ids=lambda check: check.__name__)
    def test_my_store(check, tmp_path):
        check(MyStore(tmp_path))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.store.contract import ObjectStore
from holdfast.testing.store_contract import buffers, keys, listing, reading, writing

Check = Callable[[ObjectStore], None]

CHECKS: Sequence[Check] = (
    *writing.CHECKS,
    *buffers.CHECKS,
    *reading.CHECKS,
    *listing.CHECKS,
    *keys.CHECKS,
)


def broken_rules(make: Callable[[], ObjectStore]) -> dict[str, str]:
    """Run every check, each on a store of its own; return what fails, by the check's name.

    Args:
        make: Returns a new, empty store.
    """
    found = {}
    for check in CHECKS:
        try:
            check(make())
        except Exception as error:
            found[check.__name__] = f"{type(error).__name__}: {error}"
    return found


__all__ = ["CHECKS", "Check", "broken_rules"]
