"""What holds for all tests."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Keep what was imported out of later collections: in this process each takes a second.

    Children that are forked then share its memory, too, instead of copying what theirs touch.
    """
    gc.collect()
    gc.freeze()
