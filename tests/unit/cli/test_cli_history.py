"""diff, plot, bisect and rollback, as commands on a real store."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_running import contents, flip_byte, holdfast, on_terminal
from ml_dtypes import bfloat16

import holdfast as package

VALIDATION = [0.9, 0.7, 0.6, 0.5, 0.45, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve checkpoints that over-fits from step 500 on."""
    path = tmp_path_factory.mktemp("history") / "ckpts"
    rng = np.random.default_rng(0)
    model = {f"h.{i}.{name}": rng.random((8, 4), "f4") for i in range(3) for name in ("w", "b")}
    model["emb"] = np.ones(3, bfloat16)
    for i, val_loss in enumerate(VALIDATION):
        for name in list(model)[:-1]:
            model[name] = model[name] * np.float32(1 + 0.1 / (i + 1))
        state = {"model": model, "lr": 0.1 / (i + 1), "text": "x" * i}
        metrics = {"loss": 1 / (i + 1), "val_loss": val_loss, "lr": 0.1 / (i + 1)}
        package.save(path, state, run="gpt", step=i * 100, metrics=metrics)
    return path


@pytest.fixture(autouse=True, scope="module")
def unchanged(trained):
    before = contents(trained)
    yield
    assert contents(trained) == before


# --- diff ---


def test_diff_shows_what_changed(trained):
    ran = holdfast("diff", "gpt@0", "gpt@100", store=trained)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == "gpt@0 → gpt@100"
    [row] = [line.split() for line in ran.out.splitlines() if line.startswith("model/h.0.w")]
    assert row == ["model/h.0.w", "0.05", "1.000000", row[3], "100.0%"]
    [group] = [line.split() for line in ran.out.splitlines() if line.startswith("model/h ")]
    assert group[1:5] == ["6", "of", "6", "0.05"]
    assert "lr" in ran.out and "0.05" in ran.out and "val_loss  0.9" in ran.out
    assert "6 of 7 tensors changed" in ran.out


def test_diff_json(here, trained):
    shown = here("diff", "gpt@0", "gpt@best:val_loss", "--json", "--depth", 3, store=trained).json
    assert (shown["before"], shown["after"]) == ("gpt@0", "gpt@500")
    assert [group["prefix"] for group in shown["groups"]][:2] == ["model/h.0", "model/h.1"]
    tensors = {tensor["path"]: tensor for tensor in shown["tensors"]}
    assert tensors["model/h.0.w"]["cosine"] == pytest.approx(1)
    still = tensors["model/emb"]
    assert not still["is_changed"] and still["n_elems"] == math.prod(still["shape"]) > 0
    assert (still["relative"], still["largest"], still["share_changed"]) == (0.0, 0.0, 0.0)
    assert [change["path"] for change in shown["values"]] == ["lr", "text"]
    assert shown["metrics"][2] == {
        "name": "val_loss",
        "before": 0.9,
        "after": 0.4,
        "is_same": False,
    }
    assert 0 < shown["read_bytes"] <= shown["total_bytes"] + 50_000


def test_diff_of_equals_and_of_nothing(here, trained, tmp_path):
    same = here("diff", "gpt@0", "gpt@0", store=trained)
    assert same.status == 0 and "equal, bit for bit" in same.out and "0 B of" in same.out
    assert here("diff", "gpt@0", "gpt@7", store=trained).status == 2
    assert here("diff", "gpt@0", "gpt@0", "--other", tmp_path, store=trained).status == 2
    part = here("diff", "gpt@0", "gpt@100", "--only", "model/emb", store=trained).out
    assert "What was chosen of the two states is equal" in part
    limited = here("diff", "gpt@0", "gpt@100", "--limit", "2", store=trained).out
    assert "… and 4 tensors more" in limited
    assert "… and 1 metric more" in limited


def test_diff_with_another_store(here, trained, tmp_path):
    other = tmp_path / "other"
    package.Store(trained).copy("gpt@300", other)
    ran = here("diff", "gpt@300", "gpt@300", "--other", other, store=trained)
    assert "equal, bit for bit" in ran.out


def test_diff_names_damage(here, damaged):
    ran = here("diff", "gpt@300", "gpt@400", "--json", store=damaged)
    assert (ran.status, ran.error["kind"]) == (1, "chunk-damaged")
    assert ran.error["facts"]["leaf"] == "model/weight" and ran.error["facts"]["ref"] == "gpt@400"


# --- plot ---


@pytest.mark.parametrize("columns", [80, 40])
def test_plot_in_a_terminal(here, trained, columns):
    ran = here("plot", "gpt", "--metric", "loss", store=trained, COLUMNS=str(columns))
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "loss and val_loss"
    assert max(map(len, lines)) <= columns
    canvas = "\n".join(lines[1:13])
    assert canvas.count("o") == len(VALIDATION)
    marks = lines[13]
    assert (marks.count("▴"), marks.count("✕")) == (len(VALIDATION) - 1, 1)
    assert "best val_loss: 0.4 at gpt@500" in ran.out
    assert "overfitting: val_loss has risen from 0.4 at step 500" in " ".join(ran.out.split())


def test_plot_in_ascii_and_on_a_terminal(trained):
    ran = holdfast("plot", "gpt", store=trained, PYTHONIOENCODING="ascii")
    assert ran.status == 0 and ran.out.isascii() and "^ checkpoint" in ran.out
    status, screen = on_terminal("plot", "gpt", store=trained)
    assert status == 0 and "⠒ loss" in screen


def test_plot_json(here, trained):
    shown = here("plot", "gpt", "--json", store=trained).json
    pair, rate = shown["panels"]
    assert pair["curves"]["val_loss"]["values"] == VALIDATION
    assert pair["findings"][0]["since_step"] == 500 and pair["best"] == [500, 0.4]
    assert rate["best"] is None
    assert shown["checkpoint_steps"] == [i * 100 for i in range(12)]


def test_plot_has_every_logged_step(here, tmp_path):
    with package.Checkpointer(
        tmp_path / "s", {"w": np.zeros(3)}, run="r", save=package.every(steps=100)
    ) as ckpt:
        for step in range(250):
            ckpt.step(step, {"loss": 1 / (step + 1)})
    shown = here("plot", "r", "--json", store=tmp_path / "s").json
    assert shown["panels"][0]["curves"]["loss"]["steps"] == list(range(250))
    assert shown["checkpoint_steps"] == [100, 200]
    ran = here("plot", "r", store=tmp_path / "s")
    assert "best loss: 0.004 at step 249" in ran.out


def test_plot_of_several_runs(here, tmp_path):
    store = tmp_path / "s"
    for run, scale in (("one", 1.0), ("two", 0.5), ("three", 2.0)):
        for step in range(0, 50, 10):
            metrics = {"val_loss": scale / (step + 1)} | ({"lr": 0.1} if run != "one" else {})
            package.save(store, {"w": 0}, run=run, step=step, metrics=metrics)
    shown = here("plot", "one", "two", "three", "--json", store=store).json
    assert [panel["title"] for panel in shown["panels"]] == ["val_loss", "lr"]
    loss, rate = shown["panels"]
    assert list(loss["curves"]) == ["one", "two", "three"] and next(iter(rate["curves"])) == "two"
    assert (loss["best"], loss["best_of"]) == ([40, 0.5 / 41], "two")
    assert shown["checkpoint_steps"]["three"] == [0, 10, 20, 30, 40]
    ran = here("plot", "one", "two", "three", "--metric", "val_loss", store=store)
    assert (ran.status, ran.err) == (0, "")
    assert "⠒ one  o two  x three" in ran.out and "checkpoint" not in ran.out
    assert "best val_loss: 0.0122 at two@40" in ran.out
    assert here("plot", "one", "two", "--out", tmp_path / "x.svg", store=store).status == 0
    words = (tmp_path / "x.svg").read_text()
    assert "best, @40 of two" in words and "<!-- one -->" in words
    assert here("plot", "one", "one", "--json", store=store).json["run"] == "one"


def test_several_runs_that_cannot_be_plotted(here, trained, tmp_path):
    for run in ("a", "b"):
        package.save(tmp_path / "s", {"w": 0}, run=run, step=0, metrics={"loss": 1.0})
    for arguments, words in (
        (["a", "b", "--metric", "acc"], "None of these runs has a metric 'acc'"),
        (["a", "none"], "none"),
        (["a", "b", "--layers", "**"], "--layers is of one run"),
        ([f"r{n}" for n in range(9)], "At most 8 runs"),
    ):
        ran = here("plot", *arguments, store=tmp_path / "s")
        assert ran.status == 2 and words in " ".join(ran.err.split()), ran.err


@pytest.mark.parametrize(
    "values", [(1e308, -1e308, 0.0), (1e308,), (5e-324, 0.0), (math.inf, -1e308, 1e308, math.nan)]
)
def test_plot_goes_as_far_as_floats_go(here, tmp_path, values):
    for step, value in enumerate(values):
        metrics = {"loss": value, "val_loss": value}
        package.save(tmp_path / "s", {"w": 0}, run="r", step=step, metrics=metrics)
    assert "best val_loss" in here("plot", "r", store=tmp_path / "s").out
    drawn = here("plot", "r", "--out", tmp_path / "x.png", store=tmp_path / "s")
    assert drawn.status == 0 and (tmp_path / "x.png").stat().st_size > 1000


def test_diff_compares_configurations(here, tmp_path):
    for step, config in ((1, {"lr": 0.1, "model": {"layers": 2}}), (2, {"lr": 0.2, "model": {}})):
        with package.Checkpointer(
            tmp_path / "s", {"w": np.zeros(3)}, run="r", config=config
        ) as ckpt:
            ckpt.restore()
            ckpt.save(step).wait()
    ran = here("diff", "r@1", "r@2", store=tmp_path / "s")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["configuration", "before", "after"] in lines
    assert ["lr", "0.1", "0.2"] in lines and ["model.layers", "2"] in lines
    shown = here("diff", "r@1", "r@2", "--json", store=tmp_path / "s").json
    assert shown["configuration"][0] == {
        "name": "lr",
        "before": 0.1,
        "after": 0.2,
        "is_same": False,
    }


def test_plot_layers(here, trained):
    ran = here("plot", "gpt", "--layers", "model/**", store=trained, COLUMNS="80")
    assert ran.status == 0
    [row] = [line.split() for line in ran.out.splitlines() if line.startswith("model/h.0 ")]
    assert len(row[1]) == 11 and row[1][0] == "█" and row[1][-1] == "░"
    assert "1 tensor never changed" in ran.out
    shown = here("plot", "gpt", "--layers", "model/h.0*", "--json", store=trained).json
    assert [layer["prefix"] for layer in shown["layers"]] == ["model/h.0"]
    assert shown["layers"][0]["moved"][0] == "NaN"
    nothing = here("plot", "gpt", "--layers", "modle/**", store=trained)
    assert nothing.status == 2 and "only='modle/**'" in nothing.err
    still = here("plot", "gpt", "--layers", "lr", store=trained)
    assert still.status == 0 and "Nothing that matches 'lr' changed" in still.out


def test_plots_that_cannot_be(here, trained, pristine):
    unknown = here("plot", "gpt", "--metric", "acc", "--json", store=trained)
    assert (unknown.status, unknown.error["kind"]) == (2, "not-found")
    assert here("plot", "probe", store=pristine).status == 2
    assert here("plot", "none", store=pristine).status == 2
    single = here("plot", "probe", "--layers", "**", store=pristine)
    assert single.status == 2 and "has 1 checkpoint" in single.err


def test_pictures(here, trained, tmp_path):
    for number, arguments in enumerate(
        (
            ["plot", "gpt", "--out"],
            ["plot", "gpt", "--layers", "model/**", "--out"],
            ["diff", "gpt@0", "gpt@900", "--image"],
            ["diff", "gpt@0", "gpt@0", "--only", "lr", "--image"],
        )
    ):
        file = tmp_path / f"{number}.png"
        ran = here(*arguments, file, store=trained)
        assert ran.status == 0, ran.err
        assert file.read_bytes().startswith(b"\x89PNG\r\n")
    vector = tmp_path / "metrics.svg"
    assert here("plot", "gpt", "--out", vector, store=trained).status == 0
    assert "over-fitting since @500" in vector.read_text()


def test_names_are_drawn_as_they_are(here, tmp_path):
    """Not as formulas, nor left out of legends, nor so long that nothing else fits."""
    names = ("$loss^{", "val_$loss^{", "_grad", "x" * 300)
    for step in (1, 2):
        state = {"$w^{": np.full(3, float(step)), "_w": np.full(3, step - 1.0)}
        metrics = dict.fromkeys(names, float(step))
        package.save(tmp_path / "s", state, run="r$^{", step=step, metrics=metrics)
    for arguments in (
        ["plot", "r$^{", "--out"],
        ["plot", "r$^{", "--layers", "**", "--out"],
        ["diff", "r$^{@1", "r$^{@2", "--image"],
    ):
        ran = here(*arguments, tmp_path / "x.svg", store=tmp_path / "s")
        assert ran.status == 0, ran.err
        words = [line.strip() for line in (tmp_path / "x.svg").read_text().splitlines()]
        shown = ["_grad", "$loss^{"] if "--out" in arguments[:3] else ["$w^{", "_w"]
        assert all(f"<!-- {name} -->" in words or f"<!--  {name} -->" in words for name in shown)
        assert "x" * 50 not in "".join(words)


def test_pictures_that_cannot_be_drawn(here, trained, tmp_path, monkeypatch):
    for name in ("a.jpg", "a", "no/folder/a.png"):
        assert here("plot", "gpt", "--out", tmp_path / name, store=trained).status == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = here("diff", "gpt@0", "gpt@1", "--image", tmp_path / "a.png", "--json", store=trained)
    assert (ran.status, ran.error["kind"]) == (3, "missing-dependency")
    assert 'pip install "holdfast[plot]"' in ran.error["message"]


# --- bisect ---

CHECK = """
import json, pathlib, sys
import numpy as np
facts = json.loads(pathlib.Path(sys.argv[1], "checkpoint.json").read_text())
arrays = np.load(pathlib.Path(sys.argv[1], "arrays.npz"))
assert arrays["model/emb"].dtype == np.float32 and arrays["model/emb"].tolist() == [1, 1, 1]
print("tried", facts["ref"])
sys.exit(0 if facts["values"]["lr"] > 0.1 / 9 else 1)
"""


def test_bisect_finds_the_first_bad_one(here, trained):
    command = ["--", sys.executable, "-c", CHECK, "{path}"]
    ran = holdfast("bisect", "gpt", "--good", "0", "--bad", "gpt@latest", *command, store=trained)
    assert ran.status == 0, ran.err
    assert "first bad: gpt@800, last good: gpt@700" in ran.out
    assert "tried gpt@" in ran.err and "tried" not in ran.out
    verdicts = [line.split()[0] for line in ran.out.splitlines() if "gpt@" in line][:-2]
    assert set(verdicts) == {"good", "bad"} and len(verdicts) <= 4


def test_bisect_json_with_what_cannot_be_told(here, trained):
    code = "import sys; s = int(sys.argv[1]); sys.exit(125 if s == 300 else int(s >= 300))"
    command = ["--", sys.executable, "-c", code, "{step}"]
    found = here("bisect", "gpt", "--good", "0", "--bad", "1100", "--json", *command, store=trained)
    assert found.status == 1 and found.json["first_bad"] is None
    assert found.json["suspects"] == ["gpt@300", "gpt@400"]
    assert found.json["last_good"] == "gpt@200"
    assert {tried["verdict"] for tried in found.json["tried"]} == {"good", "bad", "skip"}


def test_bisect_by_ref_and_store(here, trained):
    code = (
        "import sys, holdfast; info = holdfast.Store(sys.argv[1]).info(sys.argv[2]); "
        "sys.exit(info.metrics['val_loss'] > 0.55 and info.step > 500)"
    )
    command = ["--json", "--", sys.executable, "-c", code, "{store}", "{ref}"]
    ran = here("bisect", "gpt", "--good", "500", "--bad", "900", *command, store=trained)
    assert ran.json["first_bad"] == "gpt@700"


def test_a_command_that_is_not_there_is_no_verdict(here, trained):
    ends = ("--good", "0", "--bad", "900", "--")
    ran = here("bisect", "gpt", *ends, "sh", "-c", "no-such-command {step}", store=trained)
    assert ran.status == 2 and "exits with 127 for gpt@0, too" in ran.err
    # One that means it is believed.
    checks = ("sh", "-c", "test {step} -lt 500 || exit 127")
    assert "first bad: gpt@500" in here("bisect", "gpt", *ends, *checks, store=trained).out


@pytest.mark.parametrize("code", ["sys.exit(128)", "os.kill(os.getpid(), 9)"])
def test_bisect_ends_when_the_command_says_so(here, trained, code):
    command = ["--json", "--", sys.executable, "-c", f"import os, sys; {code}", "{step}"]
    ran = here("bisect", "gpt", "--good", "0", "--bad", "900", *command, store=trained)
    # What follows -- is not ours: --json is before it.
    assert (ran.status, ran.error["kind"]) == (3, "environment")
    assert "search was ended at gpt@" in ran.error["message"]


@pytest.mark.parametrize(
    ("ends", "command", "said"),
    [
        (["0", "900"], ["true"], "would not know which checkpoint"),
        (["0", "900"], ["/no/such/command", "{ref}"], "cannot be run"),
        (["900", "0"], ["true", "{ref}"], "came in the other order"),
        (["0", "0"], ["true", "{ref}"], "are the same checkpoint"),
        (["0", "77"], ["true", "{ref}"], "no checkpoint at step 77"),
        (["0", "other@1"], ["true", "{ref}"], "There is no run 'other'"),
    ],
)
def test_bisections_that_cannot_be(here, trained, ends, command, said):
    good, bad = ends
    ran = here("bisect", "gpt", "--good", good, "--bad", bad, "--", *command, store=trained)
    assert ran.status == 2 and said in ran.err


def test_bisect_steps_over_damage(here, trained, tmp_path):
    other = tmp_path / "ckpts"
    for step in (0, 300, 700):
        package.Store(trained).copy(f"gpt@{step}", other)
    [pack] = [
        file
        for file in (other / "runs/gpt/packs").iterdir()
        if package.Store(other).info("gpt@300").id in file.name
    ]
    flip_byte(pack, 10)
    command = ["--", sys.executable, "-c", "import sys; sys.exit(1)", "{path}"]
    ran = here("bisect", "gpt", "--good", "0", "--bad", "700", "--json", *command, store=other)
    assert ran.status == 1, ran.err
    [tried] = ran.json["tried"]
    assert (tried["verdict"], tried["status"]) == ("skip", None)
    assert "Chunk" in tried["problem"]
    assert ran.json["suspects"] == ["gpt@300", "gpt@700"]


# --- rollback ---


def test_rollback(here, store):
    ran = here("rollback", "gpt@best:val_loss", store=store)
    assert ran.status == 0 and "gpt@200 is the newest of gpt again" in ran.out
    assert package.load(store, "gpt@latest")["lr"] == 0.5
    again = here("rollback", "gpt@latest", "--json", store=store)
    assert (again.status, again.error["kind"]) == (2, "usage")
    third = here("rollback", "gpt@100", "--json", store=store)
    assert third.json["reason"] == "rolled back to gpt@100"
    assert json.loads(third.out)["parent"] == package.Store(store).log("gpt")[0].id
