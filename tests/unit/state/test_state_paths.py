"""Paths of leaves, and the patterns on them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.errors import UsageError
from holdfast.state.paths import escape, join, matches, selector


@pytest.mark.parametrize(
    ("parent", "component", "path"),
    [
        ("", "model", "model"),
        ("model", 0, "model/0"),
        ("model", "a/b", "model/a~1b"),
        ("model", "a~b", "model/a~0b"),
        ("model", "~1", "model/~01"),
        ("model", None, "model/None"),
        ("model", 1.5, "model/1.5"),
        ("model", "", "model/"),
    ],
)
def test_join(parent: str, component: object, path: str) -> None:
    assert join(parent, component) == path


def test_different_keys_have_different_paths() -> None:
    keys = ["a", "/", "~", "~0", "~1", "a/b", "a~1b", "a~01b", "//", ""]
    assert len({join("x", key) for key in keys}) == len({escape(key) for key in keys}) == len(keys)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("model/w", "model/w", True),
        ("model/w", "model/w2", False),
        ("model/w", "a/model/w", False),
        ("model", "model/w", False),
        ("*", "model", True),
        ("*", "model/w", False),
        ("model/*", "model/w", True),
        ("model/*", "model/a/w", False),
        ("model/*/w", "model/a/w", True),
        ("model/*.weight", "model/layers.3.weight", True),
        ("model/?", "model/w", True),
        ("model/?", "model/wx", False),
        ("a?b", "a/b", False),
        ("**", "model", True),
        ("**", "model/a/w", True),
        ("model/**", "model/a/b/w", True),
        ("model/**", "model", True),
        ("model/**", "models/w", False),
        ("**/w", "w", True),
        ("**/w", "model/a/w", True),
        ("**/w", "model/aw", False),
        ("model/**/w", "model/w", True),
        ("model/**/w", "model/a/b/w", True),
        ("**/exp_avg*", "optimizer/state/0/exp_avg_sq", True),
        ("**.bias", "model/layers.0.bias", True),
        ("**/layers/**", "model/layers/0/w", True),
        ("model/[ab]", "model/a", False),
        ("model/[ab]", "model/[ab]", True),
        ("a.b", "axb", False),
        ("a+(b)$", "a+(b)$", True),
        ("a*", "a\nb", True),
        ("**/x", "a\n/x", True),
        ("model/a~1b", "model/a~1b", True),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


def test_a_selector_takes_only_and_leaves_skip() -> None:
    chosen = selector(["model/**", "step"], "**/bias")
    assert chosen is not None
    paths = ["model/w", "model/bias", "model/a/bias", "step", "optimizer/w"]
    assert [p for p in paths if chosen(p)] == ["model/w", "step"]


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        (None, "model", ["models/w", "a/model/w"]),
        ("model", None, ["model", "model/w", "model/a/b"]),
        ("model/a", None, ["model/a/b"]),
        ("model", ["model/a"], ["model", "model/w"]),
        # With a wildcard, components count.
        ("model/*", None, ["model/w"]),
    ],
)
def test_a_name_means_all_that_is_below_it(only: Any, skip: Any, expected: list[str]) -> None:
    chosen = selector(only, skip)
    assert chosen is not None
    paths = ["model", "model/w", "model/a/b", "models/w", "a/model/w"]
    assert [path for path in paths if chosen(path)] == expected


@pytest.mark.parametrize(
    ("skip", "expected"),
    [("m", True), ("m/**", True), ("**", True), ("m/*", False), ("*", False), ("m/a", False)],
)
def test_what_is_left_out_whatever_is_below_it(skip: str, expected: bool) -> None:
    chosen = selector(None, skip)
    assert chosen is not None and chosen.leaves_out("m") is expected


@pytest.mark.parametrize(("only", "skip"), [(None, None), (None, ()), (None, [])])
def test_no_patterns_choose_everything(only: None, skip: object) -> None:
    assert selector(only, skip) is None  # type: ignore[arg-type]


def test_an_empty_only_chooses_nothing() -> None:
    chosen = selector([], None)
    assert chosen is not None and not chosen("a")


@pytest.mark.parametrize("bad", ["", ["a", ""], [5], [None], [b"x"]])
def test_patterns_that_are_none(bad: object) -> None:
    for only, skip in [(bad, None), (None, bad)]:
        with pytest.raises(UsageError, match="pattern"):
            selector(only, skip)  # type: ignore[arg-type]
