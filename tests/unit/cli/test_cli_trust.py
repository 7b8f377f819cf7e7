"""``sign`` and ``trust``: keys made, checkpoints signed, trust files kept, exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_running import contents, on_terminal

import holdfast as package
from holdfast.security.ed25519 import key_id, public_from_pem


@pytest.fixture
def key(tmp_path: Path) -> Path:
    package.signing.new_key_file(tmp_path / "anna.pem")
    return tmp_path / "anna.pem"


@pytest.fixture
def trust(here, tmp_path: Path, key: Path) -> Path:
    """A trust file that trusts Anna for the runs that begin with g."""
    path = tmp_path / "trust.json"
    ran = here("--trust", path, "trust", "add", "anna", "--key", f"{key}.pub", "--runs", "g*")
    assert ran.status == 0, ran.err
    return path


def test_from_a_key_to_a_trusted_checkpoint(here, store, tmp_path):
    key, trust = tmp_path / "k.pem", tmp_path / "trust.json"
    ran = here("sign", "--new-key", key)
    fingerprint = key_id(public_from_pem(Path(f"{key}.pub").read_bytes(), what="x"))
    assert ran.status == 0 and fingerprint in ran.out
    assert key.stat().st_mode & 0o777 == 0o600
    added = here("trust", "add", "ci", "--key", f"{key}.pub", HOLDFAST_TRUST=str(trust))
    assert added.status == 0 and fingerprint in added.out

    assert here("trust", "check", "gpt@200", store=store, HOLDFAST_TRUST=str(trust)).status == 1
    signed = here("sign", "gpt@200", "--key", key, store=store)
    assert signed.status == 0 and fingerprint in signed.out
    checked = here("trust", "check", "gpt@200", store=store, HOLDFAST_TRUST=str(trust))
    assert checked.status == 0 and "signed by ci" in checked.out
    shown = here("show", "gpt@200", store=store, HOLDFAST_TRUST=str(trust))
    assert shown.status == 0 and "trusted: signed by ci" in shown.out
    # What is damaged is not signed, and what is signed is whole.
    assert here("verify", "gpt@200", store=store, HOLDFAST_TRUST=str(trust)).status == 0


def test_what_is_not_trusted_is_told_by_every_command(here, store, trust, key):
    here("sign", "gpt@300", "--key", key, store=store)
    options = {"store": store, "HOLDFAST_TRUST": str(trust)}
    check = here("trust", "check", "--json", **options)
    assert check.status == 1
    verdicts = {item["ref"]: item["trust"]["trusted"] for item in check.json["checkpoints"]}
    assert verdicts == {"gpt@100": False, "gpt@200": False, "gpt@300": True, "gpt@400": False} | {
        "probe@7": False
    }
    verified = here("verify", "gpt", **options)
    assert verified.status == 1 and "3 not trusted" in verified.out
    assert "0 damaged" in verified.out and "last good of gpt: gpt@300" in verified.out
    assert "holdfast repair" not in verified.out
    log = here("log", "gpt", **options)
    assert log.status == 0 and log.out.count("NOT TRUSTED") == 3 and "anna" in log.out
    shown = here("show", "gpt@400", **options)
    assert shown.status == 1 and "NOT TRUSTED: it is not signed" in shown.out
    assert "model/weight" not in shown.out
    assert here("show", "gpt@400", "--json", **options).json["trust"]["trusted"] is False
    tagged = here("tag", "gpt@400", "v2", **options)
    assert tagged.status == 1 and "error[untrusted]" in tagged.err
    # A key that may sign for other runs only.
    here("sign", "probe@7", "--key", key, store=store)
    probe = here("trust", "check", "probe", **options)
    assert probe.status == 1 and "may not sign for run 'probe'" in probe.out


def test_keys_come_and_go(here, trust, key, tmp_path):
    def listed() -> dict[str, object]:
        return here("trust", "list", "--trust", trust, "--json").json

    assert [(k["name"], k["runs"], k["revoked"]) for k in listed()["keys"]] == [
        ("anna", ["g*"], False)
    ]
    assert listed()["unsigned"] == "refuse"
    until = ["--not-after", "2027-01-01"]
    here("trust", "add", "anna", "--key", f"{key}.pub", *until, "--trust", trust)
    [found] = listed()["keys"]
    assert (found["runs"], found["not_after"]) == (["*"], "2027-01-01T00:00:00+00:00")
    assert "2027-01-01" in here("trust", "list", "--trust", trust).out
    here("trust", "unsigned", "allow", "--trust", trust)
    assert listed()["unsigned"] == "allow"
    revoked = here("trust", "remove", "anna", "--revoke", "--trust", trust)
    assert revoked.status == 0 and listed()["keys"][0]["revoked"] is True
    assert here("trust", "remove", "anna", "--trust", trust).status == 0
    assert listed()["keys"] == []
    assert here("trust", "remove", "anna", "--trust", trust).status == 2
    assert here("trust", "unsigned", "perhaps", "--trust", trust).status == 2
    assert here("trust", "list").status == 2
    assert here("trust", "list", "--trust", tmp_path / "none.json").status == 2


def test_a_key_that_is_revoked_stays_so(here, trust, key):
    before = trust.read_bytes()
    assert here("trust", "add", "", "--key", f"{key}.pub", "--trust", trust).status == 2
    assert trust.read_bytes() == before
    here("trust", "remove", "anna", "--revoke", "--trust", trust)
    again = here("trust", "add", "anna", "--key", f"{key}.pub", "--trust", trust)
    assert again.status == 2 and "revoked" in again.err
    assert here("trust", "list", "--trust", trust, "--json").json["keys"][0]["revoked"] is True


def test_a_run_that_was_set_back_is_refused(here, store, tmp_path):
    trust, old = tmp_path / "trust.json", tmp_path / "old"
    shutil.copytree(store, old)
    package.save(store, {"n": 1}, run="gpt", step=500)
    pinned = here("trust", "pin", "gpt", "--trust", trust, store=store)
    assert pinned.status == 0 and "commit 5" in pinned.out
    for arguments in (["verify"], ["verify", "gpt@400"]):
        assert here(*arguments, "--head", trust, store=store).status == 0
        ran = here(*arguments, "--head", trust, store=old)
        assert ran.status == 1 and "set back" in ran.out
    assert here("trust", "check", "--trust", trust, store=store).status == 0
    ran = here("trust", "check", "--trust", trust, "--json", store=old)
    assert ran.status == 1 and "set back" in ran.json["problems"][0]
    shutil.copytree(old, gone := tmp_path / "gone")
    shutil.rmtree(gone / "runs/gpt")
    for arguments in (["verify"], ["trust", "check"]):
        ran = here(*arguments, "--trust", trust, store=gone)
        assert ran.status == 1 and "set back" in ran.out
    assert here("trust", "check", "probe", "--trust", trust, store=gone).status == 0
    again = here("trust", "pin", "gpt", "--trust", trust, store=old)
    assert again.status == 1 and "error[rolled-back]" in again.err
    assert here("trust", "pin", "gpt", "--force", "--trust", trust, store=old).status == 0
    assert here("verify", "--head", trust, store=old).status == 0


def test_a_folder_is_signed_and_checked(here, tmp_path, key):
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(100))
    p256 = tmp_path / "p256.pem"
    assert here("sign", "--new-key", p256, "--p256").status == 0
    assert here("sign", "--folder", folder, "--key", p256).status == 0
    check = ["trust", "check", "--folder", folder, "--key", f"{p256}.pub"]
    assert here(*check).status == 0
    assert here(*check, "--json").json == {"path": str(folder), "trusted": True, "files": 1}
    (folder / "w.bin").write_bytes(bytes(99) + b"\1")
    ran = here(*check)
    assert ran.status == 1 and "w.bin has changed" in ran.err
    # An Ed25519 key is not what the stock tool takes.
    ran = here("sign", "--folder", folder, "--key", key)
    assert ran.status == 2 and "--p256" in ran.err
    assert here("trust", "check", "--folder", folder).status == 2


def test_bad_keys_and_files_change_nothing(here, store, trust, key, tmp_path):
    before = contents(store)
    key.chmod(0o644)
    ran = here("sign", "gpt@100", "--key", key, store=store)
    assert ran.status == 2 and f"chmod 600 {key}" in ran.err
    key.chmod(0o600)
    trust.chmod(0o666)
    ran = here("verify", "--trust", trust, store=store)
    assert ran.status == 2 and "error[bad-trust-file]" in ran.err and "chmod go-w" in ran.err
    for arguments in (
        ["sign", "gpt@100"],
        ["sign"],
        ["sign", "gpt@100", "--key", tmp_path / "none.pem"],
        ["sign", "gpt@100", "--key", f"{key}.pub"],
        ["sign", "gpt@100", "--new-key", tmp_path / "x.pem"],
        ["sign", "--new-key", key],
    ):
        assert here(*arguments, store=store).status == 2, arguments
    assert contents(store) == before


def test_an_encrypted_key_asks_a_file_or_the_terminal(here, store, tmp_path):
    key, secret = tmp_path / "k.pem", tmp_path / "secret"
    secret.write_text("kelp forest\n")
    secret.chmod(0o600)
    assert here("sign", "--new-key", key, "--key-passphrase-file", secret).status == 0
    ran = here("sign", "gpt@100", "--key", key, store=store)
    assert ran.status == 2 and "--key-passphrase-file" in ran.err
    ran = here("sign", "gpt@100", "--key", key, "--key-passphrase-file", secret, store=store)
    assert ran.status == 0, ran.err
    secret.write_text("rock\n")
    ran = here("sign", "gpt@300", "--key", key, "--key-passphrase-file", secret, store=store)
    assert ran.status == 2 and "error[bad-key-file]" in ran.err and "rock" not in ran.err
    signed = [len(info.signed_by) for info in package.Store(store).log("gpt")]
    assert signed == [1, 0, 0, 0]


def test_a_passphrase_is_typed_unseen(store, tmp_path):
    key = tmp_path / "k.pem"
    package.signing.new_key_file(key, passphrase="kelp")
    status, screen = on_terminal(
        "sign", "gpt@200", "--key", key, store=store, typed="kelp\n", prompt=b"passphrase of"
    )
    assert status == 0, screen
    assert "is signed by" in screen and "kelp" not in screen


def test_the_trust_file_is_json_that_people_can_read(trust):
    found = json.loads(trust.read_text())
    assert found["keys"][0]["name"] == "anna" and trust.read_text().count("\n") > 10
    assert trust.stat().st_mode & 0o777 == 0o644


@pytest.fixture
def settings(tmp_path: Path, store: Path, key: Path, trust: Path) -> dict[str, str]:
    """The environment of somebody whose settings name a policy and a signer for the store."""
    file = tmp_path / "config" / "holdfast" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'[stores."{store}"]\ntrust = "{trust}"\nsign = "{key}"\n')
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_settings_name_the_policy_of_a_store(here, store, settings, tmp_path):
    refused = here("verify", "gpt@200", store=store, **settings)
    assert refused.status == 1 and "not trusted" in refused.out
    export = ("export", "gpt@200", tmp_path / "w.npz", "-f", "npz")
    assert here(*export, store=store, **settings).status == 1
    assert here("trust", "check", "gpt@200", store=store, **settings).status == 1
    assert here("trust", "list", store=store, **settings).out.startswith("name")
    # The settings are those of that store; what is said for one call counts first.
    other = shutil.copytree(store, tmp_path / "other")
    assert here("verify", "gpt@200", store=other, **settings).status == 0
    gone = here("verify", "gpt@200", store=store, HOLDFAST_TRUST=str(tmp_path / "x"), **settings)
    assert gone.status == 2 and "'" + str(tmp_path / "x") + "'" in gone.err


def test_settings_name_who_signs_for_a_store(here, store, settings, tmp_path):
    for ref in ("gpt@200", "gpt@400"):
        assert here("sign", ref, store=store, **settings).status == 0
        assert here("trust", "check", ref, store=store, **settings).status == 0
    assert here("rollback", "gpt@200", store=store, **settings).status == 0
    file = here("export", "gpt@200", tmp_path / "w.npz", "-f", "npz", store=store, **settings)
    assert file.status == 0, file.err
    assert here("import", tmp_path / "w.npz", "--run", "g2", store=store, **settings).status == 0
    for ref in ("gpt@latest", "g2@0"):
        assert here("show", ref, store=store, **settings).status == 0
    assert package.Store(store).info("g2@0").signed_by


def test_a_variable_names_who_signs_what_is_saved(here, store, trust, key, tmp_path):
    here("sign", "gpt@400", "--key", key, store=store)
    signer = {"HOLDFAST_TRUST": str(trust), "HOLDFAST_SIGN_KEY": str(key)}
    assert here("copy", "gpt@400", tmp_path / "far", store=store, **signer).status == 0
    assert here("trust", "check", "gpt", store=tmp_path / "far", **signer).status == 0
    key.chmod(0o640)
    refused = here("copy", "gpt@400", tmp_path / "far2", store=store, **signer)
    assert refused.status == 2 and "chmod 600" in refused.err
    assert not (tmp_path / "far2").exists()


def test_the_head_of_a_run_in_an_encrypted_store_is_pinned(here, trust, key, tmp_path):
    me = ["--identity", tmp_path / "me.key"]
    package.keys.new_identity(tmp_path / "me.key")
    sealed = package.Store(tmp_path / "sealed", keys=package.keys.identity(tmp_path / "me.key"))
    signed = package.Store(sealed, sign=package.signing.key_file(key))
    package.save(signed, {"w": 1}, run="gpt", step=1)
    options = {"store": tmp_path / "sealed", "HOLDFAST_TRUST": str(trust)}
    assert here("trust", "pin", "gpt", *me, **options).status == 0
    assert here("trust", "check", "gpt", *me, **options).status == 0
