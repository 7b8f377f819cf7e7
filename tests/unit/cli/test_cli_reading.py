"""log, show, verify and doctor, as processes on a real store that must stay as it was."""

from __future__ import annotations

import pytest
from cli_running import contents, flip_byte, holdfast


@pytest.fixture(autouse=True, scope="module")
def unchanged(pristine):
    before = contents(pristine)
    yield
    assert contents(pristine) == before


def test_log_lists_the_runs(pristine):
    ran = holdfast("log", store=pristine)
    assert (ran.status, ran.err) == (0, "")
    head, gpt, probe = ran.out.splitlines()
    assert head.split() == ["run", "checkpoints", "latest", "best", "stored", "saved"]
    assert gpt.split()[:3] == ["gpt", "4", "@400"]
    assert "val_loss ↓0.4 @200" in gpt
    assert "accuracy ↑0.4 @400" in gpt
    assert probe.split()[:3] == ["probe", "1", "@7"]


def test_log_of_a_run_is_newest_first(pristine):
    ran = holdfast("--store", pristine, "log", "gpt")
    assert (ran.status, ran.err) == (0, "")
    rows = ran.out.splitlines()[1:5]
    assert [row.split()[0] for row in rows] == ["400", "300", "200", "100"]
    assert "nan" in rows[1]
    assert "best_model_v1" in rows[2]
    assert "4 checkpoints" in ran.out


def test_log_json(here, pristine):
    runs = here("log", "--json", store=pristine).json["runs"]
    assert [(run["run"], run["n_checkpoints"]) for run in runs] == [("gpt", 4), ("probe", 1)]
    assert runs[0]["best"]["val_loss"]["lowest"] == {"value": 0.4, "step": 200}
    assert runs[0]["best"]["val_loss"]["highest"] == {"value": 0.9, "step": 100}

    saved = here("log", "gpt", "--json", store=pristine).json["checkpoints"]
    assert [info["step"] for info in saved] == [400, 300, 200, 100]
    assert saved[1]["metrics"]["val_loss"] == "NaN"
    assert saved[2]["tags"] == ["best_model_v1"]
    assert saved[0]["parent"] == saved[1]["id"]
    assert saved[0]["created"].endswith("Z")


def test_show_has_leaves_and_environment(pristine):
    ran = holdfast("show", "gpt@best:val_loss", store=pristine)
    assert (ran.status, ran.err) == (0, "")
    assert "gpt@200" in ran.out
    [weight] = [line for line in ran.out.splitlines() if line.startswith("model/weight")]
    assert weight.split() == ["model/weight", "float32", "64×32", "8.19", "kB"]
    [lr] = [line for line in ran.out.splitlines() if line.startswith("lr ")]
    assert lr.split()[-1] == "0.5"
    assert "[red]plain[/red]" in ran.out, "what a store says is no markup"
    assert "python" in ran.out
    assert "'holdfast verify' checks every one" in ran.out


def test_show_only_some_leaves(here, pristine):
    out = here("show", "gpt@200", "--filter", "model/*", store=pristine).out
    assert "model/bias" in out
    assert "\nlr " not in out
    assert "model/" not in here("show", "gpt@200", "--no-leaves", store=pristine).out
    none = here("show", "gpt@200", "--filter", "modle/**", store=pristine)
    assert "No leaf matches 'modle/**'" in none.out
    few = here("show", "gpt@200", "--filter", "model/*", "--limit", "1", store=pristine).out
    assert "and 1 leaf more" in few


def test_show_json(here, pristine):
    shown = here("show", "gpt@300", "--json", "--filter", "model/**", store=pristine).json
    assert shown["ref"] == "gpt@300"
    assert shown["metrics"]["val_loss"] == "NaN"
    assert shown["bytes_checked"] is False
    leaves = {leaf["path"]: leaf for leaf in shown["leaves"]}
    assert set(leaves) == {"model/weight", "model/bias"}
    assert leaves["model/weight"]["shape"] == [64, 32]
    assert leaves["model/weight"]["nbytes"] == 64 * 32 * 4
    assert "leaves" not in here("show", "gpt@300", "--json", "--no-leaves", store=pristine).json


def test_verify_a_good_store(pristine):
    ran = holdfast("verify", store=pristine)
    assert (ran.status, ran.err) == (0, "")
    assert sum(line.startswith("OK") for line in ran.out.splitlines()) == 5
    assert "5 checkpoints checked" in ran.out
    assert "0 damaged" in ran.out


def test_verify_one(here, pristine):
    report = here("verify", "gpt@best_model_v1", "--json", store=pristine).json
    assert report["ok"] is True
    assert [check["ref"] for check in report["checkpoints"]] == ["gpt@200"]
    assert report["checked_bytes"] > 64 * 32 * 4


def test_verify_names_damage_and_the_last_good_one(damaged):
    ran = holdfast("verify", store=damaged)
    assert ran.status == 1
    lines = ran.out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("damaged")] == ["gpt@400"]
    assert "last good of gpt: gpt@300" in ran.out

    ran = holdfast("verify", "--json", store=damaged)
    assert ran.status == 1
    assert ran.json["ok"] is False
    assert ran.json["last_good"] == {"gpt": "gpt@300", "probe": "probe@7"}
    [bad] = [check for check in ran.json["checkpoints"] if not check["ok"]]
    assert bad["ref"] == "gpt@400"
    assert bad["problems"]


def test_doctor_looks_at_the_machine_alone(here, tmp_path):
    ran = here("doctor", "--json")
    assert ran.status == 0
    assert ran.json["store"] is None
    assert ran.json["machine"]["facts"]["numpy"]


def test_doctor_looks_at_the_store(pristine):
    ran = holdfast("doctor", store=pristine)
    assert (ran.status, ran.err) == (0, "")
    assert "No problems in the store" in ran.out
    report = holdfast("doctor", "--json", store=pristine).json
    assert report["store"]["problems"] == []
    assert report["machine"]["facts"]["folder"] == str(pristine)


def test_log_tells_of_commits_that_it_cannot_list(here, store):
    newest = max((store / "runs" / "gpt" / "commits").iterdir())
    flip_byte(newest, newest.stat().st_size // 2)
    for arguments in (["log"], ["log", "gpt"]):
        out = here(*arguments, store=store).out
        assert "1 checkpoint of gpt cannot be read and is not listed" in out
        assert "holdfast verify gpt" in out
    assert len(here("log", "gpt", "--json", store=store).json["damaged"]) == 1
    report = here("verify", "gpt", "--json", store=store).json
    assert report["last_good"] == {"gpt": "gpt@300"}
