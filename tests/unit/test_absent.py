"""What a test needs and does not find is skipped, and fails in CI."""

from __future__ import annotations

import pytest

from absent import absent, required

SKIPPED, FAILED = pytest.skip.Exception, pytest.fail.Exception


@pytest.mark.parametrize(("ci", "outcome"), [("", SKIPPED), ("true", FAILED)])
def test_what_is_absent_fails_in_ci_only(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no strace"):
        absent("no strace")
    with pytest.raises(outcome, match="nothing_of_that_name is not installed"):
        required("nothing_of_that_name")
    with pytest.raises(outcome, match=r"json\.nothing cannot be imported"):
        required("json.nothing")
    assert required("json.decoder").JSONDecoder
