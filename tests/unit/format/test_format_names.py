"""Names of runs and tags, and the keys they become: none of them leaves the store."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidName
from holdfast.format.names import (
    RunKeys,
    check_run,
    check_tag,
    checkpoint_of,
    last_component,
    run_of_component,
)

HOSTILE = [
    "..",
    ".",
    "...",
    "../..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "~",
    "~root",
    "C:\\x",
    "..\\..",
    ".hidden",
    ".tmp-1-2-x",
    "a/b",
    "%2e%2e",
    "%2E%2E%2F",
    "a%00b",
    "-rf",
    "$(id)",
    "a;b",
    "a b",
    "holdfast.json",
    "CON",
    "\N{SPOUTING WHALE}",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
]


def all_keys(run: str, tag: str = "t") -> list[str]:
    keys = RunKeys(run)
    return [
        keys.commits,
        keys.parts,
        keys.packs,
        keys.tags,
        keys.pins,
        keys.events,
        keys.lock,
        keys.commit(1),
        keys.part("0" * 32, 0),
        keys.pack("0" * 32, 0),
        keys.pin("0" * 32),
        keys.tag(tag),
    ]


def assert_within(key: str, prefix: str) -> None:
    assert key.startswith(prefix)
    assert "\0" not in key and "\\" not in key
    components = key.removesuffix("/").split("/")
    assert not {"", ".", ".."} & set(components)
    assert not any(c.startswith(".") for c in components)
    assert os.path.normpath(f"/store/{key}").startswith("/store/runs/")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_one_component(name: str) -> None:
    root = RunKeys(check_run(name)).root
    assert root.count("/") == 2
    for key in all_keys(name):
        assert_within(key, root)
    tag = RunKeys("r").tag(check_tag(name))
    assert_within(tag, "runs/r/tags/")
    assert tag.count("/") == 3


printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=16)


@given(printable, printable)
def test_names_come_back_from_their_keys(run: str, tag: str) -> None:
    run, tag = run.replace("@", "_"), "t" + tag.replace("@", "_")
    root = RunKeys(check_run(run)).root
    assert_within(root, "runs/")
    assert run_of_component(root.split("/")[1]) == run
    assert last_component(RunKeys(run).tag(check_tag(tag))) == tag


@given(st.sets(printable, min_size=2, max_size=2))
def test_two_names_never_share_a_key(names: set[str]) -> None:
    a, b = (name.replace("@", "_") for name in names)
    if a != b:
        assert RunKeys(a).root != RunKeys(b).root
        assert RunKeys("r").tag(a) != RunKeys("r").tag(b)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (" a", "space"),
        ("a ", "space"),
        ("\u00a0a", "space"),
        ("a@b", "separates"),
        ("@", "separates"),
        ("a\nb", "printed"),
        ("a\0b", "printed"),
        ("\x1b[31m", "printed"),
        ("\u202egpj", "printed"),
        ("\ud800", "printed"),
        ("a" * 201, "longer"),
        ("\N{SPOUTING WHALE}" * 20, "longer"),
    ],
)
def test_names_that_cannot_be(name: str, why: str) -> None:
    for check in (check_run, check_tag):
        with pytest.raises(InvalidName, match=why) as caught:
            check(name)
        assert caught.value.name == name


@pytest.mark.parametrize("name", [None, 5, b"run", ["a"], ("a",)])
def test_names_are_text(name: object) -> None:
    for check in (check_run, check_tag):
        with pytest.raises(InvalidName, match="is a str"):
            check(name)


def test_the_longest_name_is_a_file_name() -> None:
    name = check_run("a" * 200)
    assert max(map(len, RunKeys(name).commit(1).split("/"))) <= 255


@pytest.mark.parametrize(
    "tag", ["latest", "best", "best:loss", "best:a:max", "0", "100", "-1", "+5", "--5", "+-5", "٣"]
)
def test_tags_that_would_hide_other_refs(tag: str) -> None:
    with pytest.raises(InvalidName, match="cannot be a tag"):
        check_tag(tag)


@pytest.mark.parametrize("tag", ["best_v1", "v1.0", "1.5", "1e3", "step 100", "Latest", "x:y", "²"])
def test_tags_that_can_be(tag: str) -> None:
    assert check_tag(tag) == tag


def test_commits_are_listed_in_order() -> None:
    keys = [RunKeys("r").commit(seq) for seq in (1, 9, 10, 11, 100, 10**11)]
    assert keys == sorted(keys)


def test_packs_and_parts_tell_whose_they_are() -> None:
    keys = RunKeys("a-b/c-d")
    assert checkpoint_of(keys.pack("ab" * 16, 12345)) == "ab" * 16
    assert checkpoint_of(keys.part("cd" * 16, 0)) == "cd" * 16
