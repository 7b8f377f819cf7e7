"""NumPy's warnings are errors here: what is no number must not become one that is shown."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "effectiveness" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("error::RuntimeWarning"))
