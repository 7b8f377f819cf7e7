"""What the server answers, and to whom: asked over HTTP, without a browser."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import urllib.parse
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer
from web.serving import COMMAND, Served, served
from web.training import HOSTILE

PAGES = (
    "/",
    "/run?run=base",
    "/run?run=" + urllib.parse.quote(HOSTILE),
    "/together?run=base&run=fork",
    "/together?run=base&run=" + urllib.parse.quote(HOSTILE),
    "/checkpoint?ref=base@200",
    "/checkpoint?ref=base@latest",
    "/checkpoint?ref=" + urllib.parse.quote(f"{HOSTILE}@40"),
    "/diff?a=base@180&b=base@200",
    "/diff?a=base@200&b=fork@220",
    "/layers?run=base",
    "/report?run=base",
    "/storage",
    "/storage?run=base&keep=last:3",
    "/verify?ref=base@200",
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


def ask(site: Served, path: str, *, method: str = "GET", form=None, **headers: str) -> Answer:
    """Ask the server as a client that follows nothing and keeps nothing."""
    at = urllib.parse.urlsplit(site.origin)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = urllib.parse.urlencode(form) if form is not None else None
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read().decode())
    finally:
        connection.close()


class Scripts(HTMLParser):
    """Collects what would be run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str | None] = []

    def handle_starttag(self, tag, attributes) -> None:
        named = dict(attributes)
        if tag == "script":
            self.found.append(named.get("src"))
        self.found += [name for name in named if name.startswith("on")]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_and_runs_only_our_scripts(site: Served, path: str) -> None:
    answer = ask(site, path)
    assert answer.status == 200
    assert len(answer.text) < 1_000_000
    scripts = Scripts()
    scripts.feed(answer.text)
    assert scripts.found and all(s is not None and s.startswith("/static/") for s in scripts.found)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_names_and_notes_are_shown_as_text(site: Served) -> None:
    assert escape(HOSTILE, quote=False)[:20] in ask(site, "/").text
    shown = ask(site, "/checkpoint?ref=base@200").text
    assert "<b>good" not in shown and "&lt;b&gt;good" in shown


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/run?run=absent", 404, "Runs there"),
        ("/run", 400, "needs run="),
        ("/checkpoint?ref=base@7", 404, "base"),
        ("/checkpoint?ref=nonsense", 400, "RUN@"),
        ("/run?run=base&page=x", 400, "whole number"),
        ("/together?run=base&run=absent", 404, "Runs there"),
        ("/together", 400, "No run was chosen"),
        ("/together?" + "&".join(f"run=r{i}" for i in range(9)), 400, "At most 8 runs"),
        ("/data/curves?run=base&run=absent", 404, "Runs there"),
        ("/nothing", 404, "no such page"),
        ("/diff?a=base@180", 400, "needs b="),
        ("/static/../site.py", 404, ""),
        ("/static/..%2f..%2fsite.py", 404, ""),
    ],
)
def test_what_is_not_there_is_said(site: Served, path: str, status: int, words: str) -> None:
    answer = ask(site, path)
    assert answer.status == status and words in answer.text


def test_a_policy_that_is_none_is_told_on_the_page(site: Served) -> None:
    answer = ask(site, "/storage?run=base&keep=last:none")
    assert answer.status == 200 and "no policy" in answer.text


def test_a_page_far_behind_the_last_is_the_last(site: Served) -> None:
    assert ask(site, "/run?run=base&page=99999999999999999999").status == 200


# --- who may ask ---


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil"])
def test_another_sites_name_leads_nowhere(site: Served, host: str) -> None:
    answer = ask(site, "/data/pulse", Host=host)
    assert answer.status == 403 and "pulse" not in answer.text


def test_on_an_address_for_others_a_token_is_needed(store) -> None:
    with served(store, "--host", "0.0.0.0") as found:
        port = urllib.parse.urlsplit(found.address).port
        here = Served(store, f"http://127.0.0.1:{port}/")
        token = found.address.partition("token=")[2]
        assert ask(here, "/").status == 401
        assert ask(here, "/?token=wrong").status == 401
        assert ask(here, "/static/style.css").status == 401
        entered = ask(here, f"/run?run=base&token={token}")
        assert entered.status == 303 and entered.headers["location"] == "/run?run=base"
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert ask(here, "/", Cookie=cookie.partition(";")[0]).status == 200
        assert ask(here, "/", Cookie="holdfast-token=wrong").status == 401


def test_on_loopback_no_token_is_needed(site: Served) -> None:
    assert "token" not in site.address
    assert urllib.parse.urlsplit(site.address).hostname == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost"])
def test_any_loopback_address_answers_at_the_address_that_is_printed(store, host: str) -> None:
    with served(store, "--host", host) as found:
        assert "token" not in found.address
        assert ask(found, "/").status == 200
        assert ask(found, "/", Host="127.0.0.3").status == 403


# --- changes ---


def secret_of(site: Served, path: str = "/checkpoint?ref=base@200", name: str = "secret") -> str:
    return ask(site, path).text.partition(f'name="{name}" value="')[2].partition('"')[0]


def test_nothing_is_changed_where_changes_were_not_allowed(site: Served) -> None:
    assert "secret" not in ask(site, "/checkpoint?ref=base@200").text
    form = {"ref": "base@200", "name": "mine", "secret": ""}
    answer = ask(site, "/tag", method="POST", form=form, Origin=site.origin)
    assert answer.status == 403 and "--allow-changes" in answer.text
    assert "mine" not in holdfast.Store(site.store).info("base@200").tags


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_site_cannot_change_anything(changing: Served, headers: dict[str, str]) -> None:
    form = {"ref": "base@200", "name": "mine", "secret": secret_of(changing)}
    assert ask(changing, "/tag", method="POST", form=form, **headers).status == 403
    assert "mine" not in holdfast.Store(changing.store).info("base@200").tags


def test_changes_are_made_with_the_forms_secret_only(changing: Served) -> None:
    store, origin = holdfast.Store(changing.store), changing.origin
    secret = secret_of(changing)
    form = {"ref": "base@200", "name": "mine", "secret": "guessed"}
    assert ask(changing, "/tag", method="POST", form=form, Origin=origin).status == 403
    form["secret"] = secret
    done = ask(changing, "/tag", method="POST", form=form, Origin=origin)
    assert (done.status, done.headers["location"]) == (303, "/checkpoint?ref=base%40200")
    assert "mine" in store.info("base@200").tags
    note = {"target": "base@200", "text": "said here", "secret": secret}
    assert ask(changing, "/note", method="POST", form=note, Origin=origin).status == 303
    assert "said here" in store.info("base@200").notes
    assert ask(changing, "/tag?" + urllib.parse.urlencode(form)).status == 405


def test_what_is_removed_is_what_was_shown(changing: Served) -> None:
    store, origin, secret = holdfast.Store(changing.store), changing.origin, secret_of(changing)
    plan = store.prune("base", holdfast.keep.last(2), dry_run=True)
    form = {"run": "base", "keep": "last:2", "secret": secret, "removes": "0" * 32}
    refused = ask(changing, "/prune", method="POST", form=form, Origin=origin)
    assert refused.status == 400 and "Nothing was removed" in refused.text
    assert len(store.log("base")) == 14
    form["removes"] = secret_of(changing, "/storage?run=base&keep=last:2", "removes")
    assert len(form["removes"]) == 64 and len(plan.removed) == 11
    assert ask(changing, "/prune", method="POST", form=form, Origin=origin).status == 303
    assert [info.step for info in store.log("base")] == [200, 260, 280]


def test_a_form_that_is_too_large_is_refused(changing: Served) -> None:
    form = {"target": "base", "text": "x" * 200_000, "secret": secret_of(changing)}
    answer = ask(changing, "/note", method="POST", form=form, Origin=changing.origin)
    assert answer.status == 413


# --- data ---


def test_curves_are_those_of_the_store(site: Served) -> None:
    found = json.loads(ask(site, "/data/curves?run=base").text)
    panel = found["panels"][0]
    assert panel["title"] == "loss and val_loss"
    curve = holdfast.Store(site.store).curves("base")["val_loss"]
    values = dict(zip(panel["steps"], panel["series"][1]["values"], strict=True))
    assert all(values[step] in (None, curve.values[step]) for step in panel["steps"])
    assert panel["best"][1] == min(curve.values)
    assert [finding["kind"] for finding in panel["findings"]] == ["overfitting"]
    assert [mark["step"] for mark in found["checkpoints"]] == list(range(20, 300, 20))


def test_curves_of_several_runs_share_a_panel_for_each_metric(site: Served) -> None:
    found = json.loads(ask(site, "/data/curves?run=fork&run=base&run=fork").text)
    store = holdfast.Store(site.store)
    curves = {run: store.curves(run) for run in ("fork", "base")}
    assert [panel["title"] for panel in found["panels"]] == ["loss", "val_loss", "lr"]
    for panel in found["panels"]:
        of = {run: curves[run][panel["title"]] for run in curves}
        assert panel["steps"] == sorted({s for curve in of.values() for s in curve.steps})
        for series in panel["series"]:
            there = [value for value in series["values"] if value is not None]
            assert there == list(of[series["name"]].values)
    lowest = {run: min(curves[run]["val_loss"].values) for run in curves}
    panel = found["panels"][1]
    assert panel["best_of"] == min(lowest, key=lowest.get)
    assert panel["best"][1] == min(lowest.values())
    marks = {mark["colour"]: set() for mark in found["checkpoints"]}
    for mark in found["checkpoints"]:
        marks[mark["colour"]].add(mark["step"])
    assert marks == {
        place: {info.step for info in store.log(run)} for place, run in enumerate(("fork", "base"))
    }


def test_the_pulse_changes_with_what_is_new(changing: Served) -> None:
    before = ask(changing, "/data/pulse?run=base").text
    assert ask(changing, "/data/pulse?run=base").text == before
    secret = secret_of(changing)
    note = {"target": "base@200", "text": "new", "secret": secret}
    ask(changing, "/note", method="POST", form=note, Origin=changing.origin)
    assert ask(changing, "/data/pulse?run=base").text != before


# --- the command ---


def refused(*arguments: object, store: Path) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "--store", str(store), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_told(store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = refused("ui", "--port", port, store=store)
    assert ran.returncode == 3 and str(port) in ran.stderr and "--port 0" in ran.stderr


def test_a_host_that_is_none_is_wrong_usage(store) -> None:
    ran = refused("ui", "--host", "no such host", store=store)
    assert ran.returncode == 2 and "no such host" in ran.stderr


def test_a_store_without_runs_says_how_to_begin(tmp_path: Path) -> None:
    holdfast.save(tmp_path / "ckpts", {"w": 1}, run="gone", step=1)
    shutil.rmtree(tmp_path / "ckpts" / "runs")
    with served(tmp_path / "ckpts") as found:
        assert "The first save makes one" in ask(found, "/").text
        assert ask(found, "/storage").status == 200


def test_a_place_without_a_store_is_told(tmp_path: Path) -> None:
    ran = refused("ui", store=tmp_path / "absent")
    assert ran.returncode == 2 and "absent" in ran.stderr


# --- retention ---


def test_the_next_removal_of_a_runs_own_retention_is_shown(tmp_path: Path) -> None:
    keep = holdfast.keep.last(2) | holdfast.keep.best("loss")
    with Checkpointer(tmp_path / "ckpts", {"w": 1}, run="kept", keep=keep) as ckpt:
        for step, loss in ((10, 0.1), (20, 0.9), (30, 0.8)):
            ckpt.save(step, metrics={"loss": loss}).wait()
    holdfast.save(tmp_path / "ckpts", {"w": 1}, run="all", step=1)
    assert holdfast.Store(tmp_path / "ckpts").retention("kept") == ("last:2", "best:loss:1:min")
    with served(tmp_path / "ckpts") as found:
        shown = (
            ask(found, "/storage?run=kept").text.partition('id="next"')[2].partition("</section>")
        )
        assert "With its next save 1 checkpoint goes" in shown[0] and "best:loss:1:min" in shown[0]
        assert "ref=kept%4020" in shown[0] and "not of the last 2" in shown[0]
        assert "ref=kept%4010" not in shown[0] and "ref=kept%4030" not in shown[0]
        assert "No retention is known" in ask(found, "/storage?run=all").text


def test_where_a_run_went_back_its_checkpoints_are_a_tree(tmp_path: Path) -> None:
    straight = "the steps only follow one another"
    with Checkpointer(tmp_path / "ckpts", {"w": 1}, run=straight) as ckpt:
        ckpt.save(1), ckpt.save(2)
    with Checkpointer(tmp_path / "ckpts", {"w": 1}, run="back") as ckpt:
        ckpt.save(1), ckpt.save(2)
        ckpt.wait()
        ckpt.rollback(1)
        ckpt.save(5).wait()
    with served(tmp_path / "ckpts") as found:
        rows = ask(found, "/run?run=back").text.partition("<tbody>")[2].split("<tr>")[1:]
        assert [row.partition('"true">')[2].partition("<")[0] for row in rows] == [
            "●",
            "│ ●",
            "●─╯",
        ]
        assert ["went on from back@1" in row for row in rows] == [True, True, False]
        assert "Lineage" not in ask(found, f"/run?run={urllib.parse.quote(straight)}").text


def test_a_step_that_was_saved_twice_has_two_pages(tmp_path: Path) -> None:
    state = {"first": np.zeros(3)}
    with Checkpointer(tmp_path / "ckpts", state, run="r") as ckpt:
        earlier = ckpt.save(1).wait()
        ckpt.save(2).wait()
    later = holdfast.save(tmp_path / "ckpts", {"second": np.ones(3)}, run="r", step=1)
    with served(tmp_path / "ckpts") as found:
        rows = ask(found, "/run?run=r").text
        assert f"ref=r%40{earlier.id}" in rows and f"r%40{later.id}" not in rows
        page = ask(found, f"/checkpoint?ref=r@{earlier.id}").text
        assert "<code>first</code>" in page and "<code>second</code>" not in page
        assert f'b=r%40{earlier.id}"' not in page and f"/verify?ref=r%40{earlier.id}" in page
        assert "<code>second</code>" in ask(found, "/checkpoint?ref=r@1").text
        told = ask(found, f"/diff?a=r@{earlier.id}&b=r@1").text
        assert "<code>first</code>" in told and "<code>second</code>" in told
    assert holdfast.Store(tmp_path / "ckpts").info(earlier.exact_ref).id == earlier.id
