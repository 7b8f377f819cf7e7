from __future__ import annotations

import pytest

from holdfast.errors import UsageError
from holdfast.integrations.arguments import check_names, check_options


def test_what_a_checkpointer_takes() -> None:
    assert check_options({"nice": 3, "keep": None}, "Callback") == {"nice": 3, "keep": None}
    assert check_options({}, "Callback") == {}


@pytest.mark.parametrize("name", ["nicer", "run", "state", "location", "self"])
def test_what_it_does_not_take(name: str) -> None:
    with pytest.raises(UsageError, match=f"Callback takes no {name}=.* keep, .*nice"):
        check_options({"nice": 3, name: 1}, "Callback")


def test_names_that_are_taken() -> None:
    check_names(["model"], None, "state")
    check_names(["model"], {"other": 1}, "state")
    with pytest.raises(UsageError, match="states= has 'model'"):
        check_names(["fit", "model"], {"model": 1, "other": 2}, "states")
