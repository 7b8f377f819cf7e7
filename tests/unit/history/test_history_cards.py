"""What notebooks show: HTML that is whole, needs nothing, and says what was stored as text only."""

from __future__ import annotations

import logging
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, Restored, Store, every
from holdfast.history.verify import CheckpointCheck, VerifyReport

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e&amp;\x1b[2J'
_EMPTY_TAGS = {"br", "polyline"}
_KNOWN_TAGS = {
    *("div", "style", "span", "p", "table", "tr", "th", "td", "ul", "li", "b", "br"),
    *("details", "summary", "svg", "polyline"),
}


class Whole(HTMLParser):
    """Reads HTML and fails where a tag or attribute is not one of ours, or is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in _KNOWN_TAGS, tag
        names = {name for name, _ in attrs}
        assert not {name for name in names if name.startswith("on")} and "href" not in names
        if tag not in _EMPTY_TAGS:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        assert tag in _EMPTY_TAGS

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            assert "url(" not in data and "@import" not in data and "<" not in data
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def seen(shown: object) -> Whole:
    return Whole(shown._repr_html_())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two runs; names of metrics and leaves, notes, values and texts are hostile."""
    store = Store(tmp_path_factory.mktemp("cards") / "ckpts & more")
    weights = np.arange(64, dtype="f4")
    for step in range(1, 31):
        state = {"model": {HOSTILE: weights * step, "bias": np.zeros(3)}, "note": HOSTILE * step}
        metrics = {"val_loss": 1 / step, HOSTILE: 2.5}
        holdfast.save(store, state, run="gpt", step=step, metrics=metrics)
    store.tag("gpt@30", "final")
    store.note("gpt@30", HOSTILE, {"checked": HOSTILE})
    store.note("gpt", HOSTILE)
    config = {"lr": 0.1, "text": HOSTILE, "nested": {HOSTILE: [1, 2]}}
    with Checkpointer(store, {"w": weights}, run="b", save=every(steps=2), config=config) as ckpt:
        for step in range(6):
            ckpt.step(step, metrics={"loss": 1.0 / (step + 1)})
    return store


def test_a_store_shows_its_runs(store):
    page = seen(store)
    assert "2 runs" in page.text
    assert {"gpt", "b", "30", "@30", "val_loss 0.03333 @30"} <= set(page.cells)
    assert "ckpts & more" in page.text


def test_a_run_shows_its_newest_checkpoints_and_how_many_more(store):
    html = store.history("gpt")._repr_html_()
    page = Whole(html)
    assert [cell for cell in page.cells if re.fullmatch(r"\d+", cell)][:20] == [
        str(step) for step in range(30, 10, -1)
    ]
    assert "… and 10 checkpoints more" in page.text
    assert "final" in page.text
    assert "<polyline" in html
    assert len(html) < 40_000


def test_a_checkpoint_shows_what_is_known_of_it(store):
    info = store.info("gpt@30")
    page = seen(info)
    for text in ("gpt@30", "final", "val_loss 0.03333", info.id, info.parent, "environment"):
        assert text in page.text
    assert "configuration" in seen(store.info("b@latest")).text


def test_a_comparison_shows_groups_and_heat(store):
    html = store.diff("gpt@1", "gpt@30")._repr_html_()
    page = Whole(html)
    assert "1 of 2 tensors changed" in page.text
    assert "1 of 1" in page.cells
    assert 'class="n h h9"' in html
    same = seen(store.diff("gpt@1", "gpt@1"))
    assert "equal, bit for bit" in same.text


def test_a_verification_shows_what_is_wrong_first():
    good = [CheckpointCheck(f"gpt@{step}", True) for step in range(40)]
    bad = CheckpointCheck("gpt@41", False, (f"chunk of {HOSTILE} is damaged",))
    page = seen(VerifyReport([*good, bad], (HOSTILE,), 12_000_000))
    assert page.cells[3:5] == ["gpt@41", "damaged"]
    assert "1 not good" in page.text
    assert "12.0 MB read" in page.text
    assert "… and 21 checkpoints more" in page.text
    assert "all good" in seen(VerifyReport(good, (), 1)).text


def test_a_report_shows_the_figures(store):
    page = seen(store.report("b"))
    assert {"ETTR", "6 that count, 0 done twice", "useful"} <= set(page.cells)


def test_a_restore_shows_what_was_odd(store):
    info = store.info("gpt@30")
    missing = tuple(f"leaf {number}" for number in range(25))
    page = seen(Restored(info.ref, 30, info, missing, stepped_over=(f"gpt@31: {HOSTILE}",)))
    assert "gpt@31" in page.text
    assert "leaf 19" in page.text
    assert "leaf 20" not in page.text
    assert "… and 5 leaves more" in page.text


def test_what_was_stored_is_only_ever_text(store):
    info = store.info("gpt@30")
    damaged = replace(store.history("gpt"), damaged=[HOSTILE] * 30)
    for shown in (damaged, info, store.info("b@latest"), store.diff("gpt@1", "gpt@30")):
        html = shown._repr_html_()
        assert "alert(1)" in Whole(html).text, "it is shown"
        assert "<script" not in html
        assert "<img" not in html
        assert "\u202e" not in html
        assert "\x1b" not in html


def test_a_store_that_cannot_be_read_is_no_traceback(store, tmp_path, caplog):
    assert "There is no store" in seen(Store(tmp_path / "absent")).text
    (tmp_path / "empty").mkdir()
    seen(Store(tmp_path / "empty"))
    sealed = Store(tmp_path / "sealed", keys=holdfast.keys.passphrase("a b c d e f g h i j"))
    holdfast.save(sealed, {"w": 1}, run="secret", step=1)
    page = seen(Store(tmp_path / "sealed"))
    assert "cannot be read" in page.text
    assert "secret" not in page.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_what_is_shown_changes_nothing_that_was_there(store):
    info = store.info("gpt@30")
    assert [field.name for field in fields(info)][:3] == ["run", "step", "id"]
    assert repr(info).startswith("CheckpointInfo(run='gpt', step=30")
    assert repr(store).startswith("Store(")
