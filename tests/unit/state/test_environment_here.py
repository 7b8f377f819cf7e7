"""What differs between where a checkpoint was made and this machine, where nothing trains."""

from __future__ import annotations

from holdfast.state import environment


def test_another_machine_is_told_and_this_one_is_not() -> None:
    saved = environment.capture()
    # Where holdfast itself is being worked on, it tells of that.
    told = [d.text for d in environment.differences_here(saved) if not d.text.startswith("code:")]
    assert told == []
    packages = {"numpy": "0.1", "nothing_of_that_name": "2.0"}
    other = saved | {"byteorder": "big", "python": "3.99", "packages": packages}
    names = {d.text.partition(":")[0] for d in environment.differences_here(other)}
    assert names - {"code"} == {
        "python",
        "byteorder",
        "numpy packages",
        "nothing_of_that_name packages",
    }
