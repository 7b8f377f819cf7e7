"""Whatever can be saved comes back as it was: in type, order and every bit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from state_checks import assert_same

import holdfast
from absent import required
from holdfast.state.paths import matches

trees = required("trees")


@contextmanager
def empty_store() -> Iterator[Path]:
    folder = tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    try:
        yield Path(folder, "store")
    finally:
        shutil.rmtree(folder)


@settings(max_examples=250)
@given(trees.states)
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    with empty_store() as path:
        holdfast.save(path, state, run="r", step=1, rng=False)
        assert_same(holdfast.load(path, "r@1"), state)


@settings(max_examples=60)
@given(trees.states, st.sampled_from(["fast", "full"]))
def test_the_way_through_another_store_changes_nothing(state: dict[str, Any], how: str) -> None:
    with empty_store() as path:
        holdfast.save(path, state, run="r", step=1, rng=False)
        holdfast.Store(path).copy("r@1", path.with_name("other"))
        assert_same(holdfast.load(path.with_name("other"), "r@1", verify=how), state)


@settings(max_examples=80)
@given(trees.states)
def test_a_state_is_loaded_into_itself(state: dict[str, Any]) -> None:
    with empty_store() as path:
        holdfast.save(path, state, run="r", step=1, rng=False)
        expected = holdfast.load(path, "r@1")
        target = holdfast.load(path, "r@1")
        result = holdfast.load(path, "r@1", into=target)
        assert_same(target, expected)
        assert (result.missing, result.unexpected) == ((), ())


PATTERNS = ["**", "*", "a/**", "**/a", "*/0", "**/0/**", "?", "**/?", "a*/**"]


def leaf_paths(path: Path, ref: str) -> list[str]:
    return [leaf.path for leaf in holdfast.Store(path).leaves(ref)]


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text("ab", min_size=1, max_size=2),
        st.recursive(
            st.integers(0, 5) | trees.arrays(),
            lambda inner: (
                st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
                | st.lists(inner, max_size=3)
            ),
            max_leaves=10,
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(PATTERNS),
    st.none() | st.sampled_from(PATTERNS),
)
def test_the_leaves_that_match_are_saved_and_no_other(
    state: dict[str, Any], only: str, skip: str | None
) -> None:
    with empty_store() as path:
        holdfast.save(path, state, run="r", step=1, rng=False)
        wanted = [
            p
            for p in leaf_paths(path, "r@1")
            if matches(only, p) and not (skip is not None and matches(skip, p))
        ]
        try:
            holdfast.save(path, state, run="r", step=2, rng=False, only=only, skip=skip)
        except holdfast.errors.UsageError:
            assert wanted == []
        else:
            assert leaf_paths(path, "r@2") == wanted
