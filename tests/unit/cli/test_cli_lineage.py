"""``log`` across runs, ``metrics``, ``note``, ``tag --fixed``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import holdfast as package
from holdfast import Checkpointer


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run, a fork of it, and metrics of steps that were done twice."""
    store = tmp_path_factory.mktemp("history") / "ckpts"
    for shift in (0.0, 0.5):
        with Checkpointer(store, {"w": np.zeros(3)}, run="base", config={"lr": 0.1}) as ckpt:
            ckpt.restore()
            for step in range(ckpt.next_step, 5):
                extra = {"odd": float("nan")} if step == 3 else {}
                ckpt.step(step, metrics={"loss": step + shift} | extra)
                if step == 1 or shift:
                    ckpt.save(step)
    with Checkpointer(store, {"w": np.zeros(3)}, run="fork", dataset="sha256:00") as ckpt:
        ckpt.restore("base@3")
        ckpt.save(4)
    return store


def test_log_draws_forks_below_what_they_came_from(here, history: Path) -> None:
    ran = here("log", store=history)
    assert (ran.status, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0][:3] == ["run", "forked", "from"]
    assert rows[1][0] == "base" and rows[2][:3] == ["└─", "fork", "base@3"]
    base, fork = here("log", "--json", store=history).json["runs"]
    assert (base["forked_from"], base["depth"], fork["depth"]) == (None, 0, 1)
    assert fork["forked_from"]["run"] == "base" and fork["forked_from"]["step"] == 3
    assert "forked from base@3" in here("log", "fork", store=history).out


def test_show_tells_of_the_past(here, history: Path) -> None:
    out = here("show", "fork@4", "--no-leaves", store=history).out
    assert "forked from   base@3" in out and "sha256:00" in out
    out = here("show", "base@4", "--no-leaves", store=history).out
    assert "resumed from  base@1" in out and "configuration\nlr  0.1\n" in out
    told = here("show", "base@4", "--json", store=history).json
    assert told["config"] == {"lr": 0.1} and told["resumed_from"]["step"] == 1


def test_metrics_shows_the_steps_that_count(here, history: Path) -> None:
    out = here("metrics", "base", store=history).out
    assert [line.split()[0] for line in out.splitlines()] == ["step", "0", "1", "2", "3", "4"]
    assert out.splitlines()[3].endswith("2.5") and "nan" in out.splitlines()[4]
    shown = here("metrics", "base", "--superseded", "--metric", "loss", store=history).out
    assert shown.count("superseded") == 3 and len(shown.splitlines()) == 9
    found = here("metrics", "base", "--last", "2", "--json", store=history).json
    assert found["steps"] == [3, 4] and found["counts"] == [True, True]
    assert found["metrics"] == {"loss": [3.5, 4.5], "odd": ["NaN", None]}
    assert len(set(found["incarnations"])) == 1 and found["times"][0].endswith("Z")
    assert "6 rows before" not in out
    assert "1 row before these" in here("metrics", "base", "--last", "4", store=history).out


def test_metrics_that_only_checkpoints_have(here, tmp_path: Path) -> None:
    package.save(tmp_path / "s", {"w": 1}, run="single", step=0, metrics={"loss": 1.0})
    assert "'holdfast log single'" in here("metrics", "single", store=tmp_path / "s").out


def test_metrics_of_nothing(here, history: Path) -> None:
    assert here("metrics", "fork", store=history).out == "Run fork has logged no metrics.\n"
    ran = here("metrics", "base", "--metric", "acc", store=history)
    assert ran.status == 2 and "Metrics there: loss, odd." in ran.err
    assert here("metrics", "nobody", store=history).status == 2
    assert here("metrics", "base", "--last", "0", store=history).status == 2


def test_notes_are_written_and_shown(here, store: Path) -> None:
    said = ["a [red]spike[/red]", "--set", "ok=yes", "--set", "n=1"]
    ran = here("note", "gpt@200", *said, store=store)
    assert (ran.status, ran.out) == (0, "a [red]spike[/red]\nn   1\nok  yes\n")
    assert here("note", "gpt@200", "--unset", "ok", store=store).status == 0
    assert here("note", "gpt", "the whole run", store=store).out == "the whole run\n"
    found = here("note", "gpt@200", "--json", store=store).json
    assert found == {"target": "gpt@200", "notes": ["a [red]spike[/red]"], "values": {"n": "1"}}
    out = here("log", "gpt", store=store).out
    assert "a [red]spike[/red]; n=1" in out and "notes: the whole run" in out
    assert "a [red]spike[/red]; n=1" in here("show", "gpt@200", store=store).out
    told = here("log", "gpt", "--json", store=store).json
    assert told["notes"] == ["the whole run"] and told["checkpoints"][2]["values"] == {"n": "1"}
    assert here("note", "gpt@100", store=store).out == "There are no notes on gpt@100.\n"


@pytest.mark.parametrize("arguments", [["--set", "ok"], ["--set", "=1"], [" "]])
def test_notes_that_are_none_are_refused(here, store: Path, arguments: list[str]) -> None:
    ran = here("note", "gpt@200", *arguments, store=store)
    assert ran.status == 2 and "othing was" in ran.err
    assert package.Store(store).info("gpt@200").notes == ()


def test_a_name_for_good(here, store: Path) -> None:
    ran = here("tag", "gpt@100", "v1", "--fixed", store=store)
    assert (ran.status, ran.out) == (0, "gpt@v1 is gpt@100, for good\n")
    for arguments in (["gpt@200", "v1"], ["gpt@200", "v1", "--fixed"]):
        ran = here("tag", *arguments, store=store)
        assert ran.status == 2 and "already-exists" in ran.err
    for arguments in (["--delete"], ["--delete", "--fixed"]):
        assert here("tag", "gpt@100", "v1", *arguments, store=store).status == 2
    here("prune", "gpt", "--keep", "last:1", store=store)
    assert here("show", "gpt@v1", "--json", store=store).json["step"] == 100


@pytest.mark.parametrize("prune", [(), ("base@3",), ("base@3", "fork@4")])
def test_bisect_goes_back_into_the_run_that_it_was_forked_from(
    here, tmp_path: Path, prune: tuple[str, ...]
) -> None:
    with Checkpointer(tmp_path, {"w": np.zeros(3)}, run="base") as ckpt:
        for step in range(6):
            ckpt.save(step)
    with Checkpointer(tmp_path, {"w": np.zeros(3)}, run="fork") as ckpt:
        ckpt.restore("base@3")
        for step in range(ckpt.next_step, 10):
            ckpt.save(step)
    for ref in prune:
        package.Store(tmp_path).remove(ref)
    for first_bad in (2, 7):
        code = f"import sys; sys.exit(int(sys.argv[1]) >= {first_bad})"
        command = ["--json", "--", sys.executable, "-c", code, "{step}"]
        ran = here(
            "bisect", "fork", "--good", "base@0", "--bad", "latest", *command, store=tmp_path
        )
        assert ran.status == 0, ran.err
        run = "base" if first_bad == 2 else "fork"
        assert ran.json["first_bad"] == f"{run}@{first_bad}"
        tried = {entry["ref"] for entry in ran.json["tried"]}
        assert not tried & {"base@4", "base@5"}, "what the other run went on with"
    ran = here(
        "bisect", "base", "--good", "fork@5", "--bad", "5", "--", "true", "{step}", store=tmp_path
    )
    assert ran.status == 2 and "neither of run 'base' nor of one" in ran.err


def test_bisect_takes_no_run_of_the_same_name_for_the_one_in_another_store(
    here, tmp_path: Path
) -> None:
    for store in ("first", "second"):
        with Checkpointer(tmp_path / store, {"w": np.zeros(3)}, run="base") as ckpt:
            for step in range(3):
                ckpt.save(step)
    with Checkpointer(tmp_path / "second", {"w": np.zeros(3)}, run="fork") as ckpt:
        ckpt.restore("base@2", store=tmp_path / "first")
        ckpt.save(3)
    command = ["bisect", "fork", "--good", "base@0", "--bad", "latest", "--", "false", "{step}"]
    ran = here(*command, store=tmp_path / "second")
    assert ran.status == 2 and "nor of one in this store that it was forked from" in ran.err
