"""What differs between where a checkpoint was made and this machine, where nothing trains."""

from __future__ import annotations

import pytest

from holdfast.state import environment


@pytest.mark.parametrize("dirty", [False, True])
def test_another_machine_is_told_and_this_one_is_not(
    monkeypatch: pytest.MonkeyPatch, dirty: bool
) -> None:
    # The code that lies here need not be what trains there.
    fixed = {**environment._fixed(), "git": {"commit": "c" * 40, "dirty": dirty}}
    monkeypatch.setattr(environment, "_fixed", lambda: fixed)
    saved = environment.capture() | {"git": {"commit": "d" * 40, "dirty": False}}
    assert environment.differences_here(saved) == []
    packages = {"numpy": "0.1", "nothing_of_that_name": "2.0"}
    other = saved | {"byteorder": "big", "python": "3.99", "packages": packages}
    told = {d.text.partition(":")[0] for d in environment.differences_here(other)}
    assert told == {"python", "byteorder", "numpy packages", "nothing_of_that_name packages"}
