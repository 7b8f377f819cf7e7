"""Numbers, lineage, JSON and best values: pure functions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.cli.app import hoisted
from holdfast.cli.doctor import exit_code
from holdfast.cli.machine import Fact
from holdfast.cli.tables import Column, Styled, facts, table, visible, wrapped
from holdfast.cli.verify import last_good
from holdfast.history import graph
from holdfast.history.best import bests
from holdfast.history.summary import summary_of
from holdfast.wording.jsonable import jsonable
from holdfast.wording.numbers import (
    age_text,
    bytes_text,
    higher_is_better,
    metric_text,
    plural,
)


@dataclass(frozen=True)
class Info:
    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    not_finite: int | None = None


@dataclass(frozen=True)
class Checked:
    ref: str
    ok: bool


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1234, "1.23 kB"),
        (12_345, "12.3 kB"),
        (123_456, "123 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_493_000_000, "1.49 GB"),
        (10**21, "1000 EB"),
        (-1500, "-1.50 kB"),
    ],
)
def test_sizes_have_three_digits_and_never_four(count, text):
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=1), "just now"),
        (timedelta(seconds=-3), "just now"),  # Two clocks are never quite the same.
        (timedelta(seconds=42), "42 s ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=3), "3 d ago"),
        (timedelta(days=90), "2024-10-03"),
        (timedelta(hours=-2), "2 h ahead of this clock"),
    ],
)
def test_ages(ago, text):
    now = datetime(2025, 1, 1, 12, tzinfo=UTC)
    assert age_text(now - ago, now) == text


def test_small_texts():
    assert [metric_text(x) for x in (0.123456, 12.0, 1e-9, float("inf"))] == [
        "0.1235",
        "12",
        "1e-09",
        "inf",
    ]
    assert [plural(n, "leaf") for n in (0, 1, 2)] == ["0 leaves", "1 leaf", "2 leaves"]


def test_which_way_is_better():
    assert [higher_is_better(name) for name in ("val_acc", "val/F1", "mIoU score", "r2")] == [
        True,
        True,
        True,
        True,
    ]
    assert not any(higher_is_better(name) for name in ("loss", "perplexity", "mape", "error"))


def test_best_values_pass_over_nan_and_take_the_earliest():
    run = [
        Info(1, {"loss": float("nan"), "acc": 0.1}),
        Info(2, {"loss": 0.5, "acc": 0.9}),
        Info(3, {"loss": 0.5, "acc": 0.8}),
        Info(4, {}),
    ]
    loss, acc = bests(summary_of(run))
    assert (loss.step, loss.value, loss.highest) == (2, 0.5, False)
    assert (acc.step, acc.value, acc.highest) == (2, 0.9, True)
    assert bests(summary_of([Info(1, {"loss": float("nan")})])) == []


def test_lineage_draws_forks_that_meet_where_they_began():
    nodes = [("g", "f"), ("f", "c"), ("e", "d"), ("d", "c"), ("c", "b"), ("b", None), ("a", None)]
    assert graph.draw(nodes) == ["●", "●", "│ ●", "│ ●", "●─╯", "●", "●"]


def test_lineage_of_three_branches():
    nodes = [("d", "a"), ("c", "a"), ("b", "a"), ("a", None)]
    assert graph.draw(nodes) == ["●", "│ ●", "│ │ ●", "●─╯─╯"]
    assert graph.draw(nodes, graph.ASCII)[-1] == "*-'-'"


def test_lineage_ends_at_a_parent_that_was_pruned():
    assert graph.draw([("c", "gone"), ("b", "gone too"), ("a", None)]) == ["●", "●", "●"]


def test_json_has_words_for_what_json_lacks():
    value = {
        "nan": float("nan"),
        "high": float("inf"),
        "low": float("-inf"),
        "when": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        "raw": b"\x00\xff",
        "complex": 1 + 2j,
        "tuple": (1, (2.5, None, True)),
        "surrogate": "\udcff",
        7: 2**100,
    }
    assert json.loads(json.dumps(jsonable(value), allow_nan=False)) == {
        "nan": "NaN",
        "high": "Infinity",
        "low": "-Infinity",
        "when": "2025-01-02T03:04:05Z",
        "raw": "00ff",
        "complex": "(1+2j)",
        "tuple": [1, [2.5, None, True]],
        "surrogate": "\udcff",
        "7": 2**100,
    }


def test_what_a_terminal_would_obey_is_shown_instead():
    assert visible("a\x1b[2Jb\r\u202e") == "a\\x1b[2Jb\\r\\u202e"
    assert visible("größe 模型") == "größe 模型"


def test_global_options_may_follow_the_command():
    assert hoisted(["log", "--store=x", "run", "--debug"]) == ["--store=x", "--debug", "log", "run"]
    assert hoisted(["log", "--", "--store", "x"]) == ["log", "--", "--store", "x"]
    assert hoisted(["log", "--store"]) == ["log", "--store"]


def test_the_last_good_one_is_named_for_each_run():
    checks = [
        Checked("a@1", True),
        Checked("a@2", True),
        Checked("a@3", False),
        Checked("b, commit 1 (runs/b/commits/1)", False),
    ]
    assert last_good(checks) == {"a": "a@2", "b": None}


def test_a_damaged_store_weighs_more_than_a_bad_machine():
    fine, bad = Fact("cpus", 2), Fact("writable", False, "Checkpoints cannot be written there.")
    assert exit_code([fine], ()) == 0
    assert exit_code([fine, bad], ()) == 3
    assert exit_code([fine, bad], ("a part is missing",)) == 1


def _plain(lines):
    return ["".join(piece.text for piece in line) for line in lines]


COLUMNS = [Column("name", may_wrap=True), Column("size", right=True), Column("why", may_wrap=True)]
ROWS = [["a", "10 B", ""], ["model/layers.0.weight", "7 B", Styled("kept for good", "green")]]


def test_a_table_that_fits():
    assert _plain(table(COLUMNS, ROWS, 80)) == [
        "name                   size  why",
        "a                      10 B",
        "model/layers.0.weight   7 B  kept for good",
    ]


def test_a_table_wraps_what_may_wrap_and_keeps_the_rest():
    assert _plain(table(COLUMNS, ROWS, 40)) == [
        "name                 size  why",
        "a                    10 B",
        "model/layers.0.weig   7 B  kept for good",
        "ht",
    ]


def test_a_table_that_cannot_fit_becomes_lists():
    assert _plain(table(COLUMNS, ROWS, 20)) == [
        "name  a",
        "size  10 B",
        "",
        "name  model/layers.0",
        "      .weight",
        "size  7 B",
        "why   kept for good",
    ]


@pytest.mark.parametrize("width", [1, 7, 16, 33])
def test_wrapping_loses_nothing_and_keeps_the_width(width):
    text = "every 500 steps, 模型 and a-word-that-is-very-much-longer-than-that"
    lines = wrapped(text, max(width, 2))
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(len(line) <= max(width, 2) for line in lines)


def test_wide_characters_take_two_columns():
    assert _plain(facts([("模型", "x"), ("abcd", "y")], 80)) == ["模型  x", "abcd  y"]


def test_styles_go_with_their_cells():
    *_, last = table(COLUMNS, ROWS, 80)
    assert Styled("kept for good", "green") in last


def test_long_titles_wrap_before_a_table_is_given_up():
    columns = [Column("step", right=True), Column("newly stored bytes", right=True)]
    assert _plain(table(columns, [["100", "1.49 GB"]], 16)) == [
        "step    newly",
        "       stored",
        "        bytes",
        " 100  1.49 GB",
    ]
