"""What differs between where a checkpoint was made and this machine, where nothing trains."""

from __future__ import annotations

import pytest

from holdfast.state import environment


def test_another_machine_is_told_and_this_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = environment.capture()
    # Nothing of the machine: the code that happens to stand in the folder where somebody looks.
    here = {**environment._fixed(), "git": {"commit": "1234", "dirty": True}}
    monkeypatch.setattr(environment, "_fixed", lambda: here)
    assert environment.differences_here(saved) == []
    packages = {"numpy": "0.1", "nothing_of_that_name": "2.0"}
    other = saved | {"byteorder": "big", "python": "3.99", "packages": packages}
    names = {d.text.partition(":")[0] for d in environment.differences_here(other)}
    assert names == {"python", "byteorder", "numpy packages", "nothing_of_that_name packages"}
