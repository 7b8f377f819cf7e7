"""tag, rm, prune and repair: what they change, and what they refuse to."""

from __future__ import annotations

import json

import pytest
from cli_running import contents, holdfast, on_terminal

import holdfast as package


def _steps(store):
    return [info.step for info in package.Store(store).log("gpt")]


def test_tag_and_untag(here, store):
    ran = here("tag", "gpt@400", "final", store=store)
    assert (ran.status, ran.out) == (0, "gpt@final is gpt@400\n")
    assert package.Store(store).info("gpt@final").step == 400

    ran = here("tag", "gpt@final", "final", "--delete", store=store)
    assert (ran.status, ran.out) == (0, "gpt@400 is no longer tagged final\n")
    assert package.Store(store).info("gpt@400").tags == ()


def test_tag_and_rm_tell_programs_what_they_did(here, store):
    tagged = json.loads(here("tag", "gpt@400", "final", "--json", store=store).out)
    assert (tagged["ref"], tagged["tags"]) == ("gpt@400", ["final"])
    untagged = json.loads(here("tag", "gpt@400", "final", "--delete", "--json", store=store).out)
    assert untagged["tags"] == []
    removed = json.loads(here("rm", "gpt@400", "--yes", "--json", store=store).out)
    assert [info["ref"] for info in removed["removed"]] == ["gpt@400"]
    assert removed["freed_bytes"] > 0


def test_a_tag_is_deleted_only_where_it_is(here, store):
    before = contents(store)
    ran = here("tag", "gpt@400", "best_model_v1", "--delete", store=store)
    assert ran.status == 2
    assert "error[not-found]: gpt@400 has no tag 'best_model_v1'" in ran.err
    assert contents(store) == before


def test_a_tag_that_would_be_a_step_is_refused(here, store):
    ran = here("tag", "gpt@400", "latest", store=store)
    assert ran.status == 2
    assert ran.err.startswith("error[")


def test_rm_does_not_remove_without_being_told(store):
    before = contents(store)
    ran = holdfast("rm", "gpt@100", store=store)
    assert ran.status == 2
    assert "--yes" in ran.err
    assert contents(store) == before


def test_rm(store):
    ran = holdfast("rm", "gpt@100", "--yes", store=store)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("removed gpt@100, ")
    assert _steps(store) == [200, 300, 400]
    assert package.Store(store).verify().ok


def test_rm_asks_on_a_terminal(store):
    status, screen = on_terminal("rm", "gpt@100", store=store, typed="n\n")
    assert status == 2
    assert "Nothing was removed" in screen
    assert _steps(store) == [100, 200, 300, 400]
    status, screen = on_terminal("rm", "gpt@100", store=store, typed="y\n")
    assert status == 0
    assert _steps(store) == [200, 300, 400]


def test_prune_dry_run_changes_nothing(store):
    before = contents(store)
    ran = holdfast("prune", "gpt", "--keep", "last:1", "--dry-run", store=store)
    assert (ran.status, ran.err) == (0, "")
    fates = [line.split() for line in ran.out.splitlines()[1:5]]
    assert [(fate[0], "keep" in fate) for fate in fates] == [
        ("400", True),
        ("300", False),
        ("200", True),  # Tagged.
        ("100", False),
    ]
    assert "Nothing was changed" in ran.out
    report = holdfast("prune", "gpt", "--keep", "last:1", "-n", "--json", store=store).json
    assert report["dry_run"] is True
    assert [info["step"] for info in report["removed"]] == [100, 300]
    assert all(info["because"] for info in report["kept"] + report["removed"])
    assert contents(store) == before


def test_prune_unites_what_is_to_be_kept(here, store):
    ran = here("prune", "gpt", "--keep", "last:1", "--keep", "every:100steps", store=store)
    assert ran.status == 0
    assert _steps(store) == [100, 200, 300, 400]
    ran = here("prune", "gpt", "--keep", "last:2", store=store)
    assert (ran.status, ran.err) == (0, "")
    assert "removed 1 checkpoint, kept 3" in ran.out
    assert _steps(store) == [200, 300, 400]
    assert package.Store(store).verify().ok


def test_prune_by_age_and_budget_says_why_and_what_is_freed(here, store):
    policies = ("--keep", "within:24h", "--keep", "budget:10kB")
    report = here("prune", "gpt", *policies, "-n", "--json", store=store).json
    assert [info["step"] for info in report["kept"]] == [200, 400], "the newest, and a tag"
    assert report["kept"][1]["because"] == ["newest", "within 24 hours"]
    assert "over the budget of 10 kB: takes" in report["removed"][0]["because"][0]
    assert report["freed_bytes"] > 12_000 and report["over_budget_bytes"] > 1000
    ran = here("prune", "gpt", *policies, store=store)
    assert "removed 2 checkpoints, kept 2" in ran.out
    assert "over the budget: the newest, and what has a tag, always stay" in ran.out
    ran = here("log", "gpt", store=store)
    assert "2 checkpoints removed so far" in ran.out and "freed" in ran.out
    given_back = here("log", "gpt", "--json", store=store).json["given_back"]
    assert given_back == {"n_checkpoints": 2, "nbytes": report["freed_bytes"]}


@pytest.mark.parametrize(
    "policy", ["within:0h", "budget:none", "every:1epoch", "best:nothing", "last:1:within:soon"]
)
def test_prune_refuses_what_cannot_be(here, store, policy):
    before = contents(store)
    ran = here("prune", "gpt", "--keep", policy, store=store)
    assert ran.status == 2 and "othing was removed" in ran.err
    assert contents(store) == before


def test_prune_wants_a_policy_it_can_read(here, store):
    before = contents(store)
    assert here("prune", "gpt", store=store).status == 2
    ran = here("prune", "gpt", "--keep", "lst:3", store=store)
    assert ran.status == 2
    assert "last:N" in ran.err
    assert contents(store) == before


def test_repair_puts_right_what_a_copy_has(here, damaged, pristine):
    ran = here("repair", store=damaged)
    assert ran.status == 1
    assert "beyond repair" in ran.out and "last good of gpt: gpt@300" in ran.out
    before = contents(damaged)
    ran = here("repair", "--from", pristine, "--dry-run", store=damaged)
    assert ran.status == 0
    assert "would fix" in ran.out and "Nothing was changed" in ran.out
    assert contents(damaged) == before
    ran = here("repair", "--from", pristine, "--json", store=damaged)
    assert ran.status == 0
    found = json.loads(ran.out)
    assert found["ok"] and len(found["fixed"]) == 1 and found["after"]["ok"]
    assert here("verify", store=damaged).status == 0


def test_repair_of_a_good_store_says_so(here, store):
    ran = here("repair", "--dry-run", store=store)
    assert (ran.status, ran.err) == (0, "")
    assert "Nothing to repair." in ran.out


def test_repair_from_where_no_store_is(here, store, tmp_path):
    before = contents(store)
    ran = here("repair", "--from", tmp_path / "nowhere", store=store)
    assert ran.status == 2
    assert "There is no store at" in ran.err
    assert contents(store) == before


def test_rm_gives_up_what_has_lost_its_commit_record(tmp_path):
    store = tmp_path / "store"
    with package.Checkpointer(store, {"n": 1}, run="gpt", save=package.every(steps=1)) as ckpt:
        for step in (1, 2):
            ckpt.step(step)
    (store / "runs/gpt/commits/000000000002").unlink()
    told = holdfast("verify", store=store)
    assert told.status == 1 and "gpt@2" in told.out and "is missing" in " ".join(told.out.split())
    asked = holdfast("rm", "gpt@2", store=store)
    assert asked.status == 1 and "'holdfast rm --yes' gives the checkpoint up" in asked.err
    assert holdfast("rm", "gpt@2", "--yes", store=store).out.startswith("removed gpt@2, ")
    assert holdfast("verify", store=store).status == 0
