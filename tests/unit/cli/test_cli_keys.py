"""``holdfast keys``, and the other commands on an encrypted store."""

from __future__ import annotations

import numpy as np
import pytest
from cli_running import on_terminal

import holdfast
from holdfast import keys

PHRASE = "correct horse battery staple"


@pytest.fixture
def sealed(tmp_path):
    """An encrypted store, and files: me and ada are identities, phrase is a passphrase."""
    for name in ("me", "ada"):
        keys.new_identity(tmp_path / f"{name}.key")
    phrase = tmp_path / "phrase"
    phrase.touch(0o600)
    phrase.write_text(PHRASE + "\n")
    store = holdfast.Store(tmp_path / "ckpts", keys=keys.identity(tmp_path / "me.key"))
    holdfast.save(store, {"w": np.arange(9.0)}, run="r", step=1, tag="t", metrics={"loss": 0.5})
    return tmp_path


def public(folder, name):
    return keys.identity(folder / f"{name}.key").recipients[0]


def test_a_new_key_is_written_privately_and_never_over_another(here, tmp_path):
    made = here("keys", "new", tmp_path / "k")
    assert made.status == 0 and made.out.startswith("age1")
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert keys.identity(tmp_path / "k").recipients == (made.out.strip(),)
    again = here("keys", "new", tmp_path / "k")
    assert again.status == 2 and "already" in again.err


@pytest.mark.parametrize("way", ["option", "variable", "settings"])
def test_keys_come_from_files_that_are_named(here, sealed, way):
    store, file = sealed / "ckpts", str(sealed / "me.key")
    settings = sealed / "config" / "holdfast" / "config.toml"
    settings.parent.mkdir(parents=True)
    if way == "settings":
        settings.write_text(f'[stores."{store}"]\nidentity = "{file}"\n')
    arguments = ["--identity", file] if way == "option" else []
    env = {"HOLDFAST_IDENTITY": file} if way == "variable" else {}
    env["XDG_CONFIG_HOME"] = str(sealed / "config")
    for command in (["log"], ["log", "r"], ["show", "r@t"], ["verify"], ["doctor"]):
        done = here(*command, *arguments, store=store, **env)
        assert done.status in (0, 3), done.err
        assert "r" in done.out


def test_a_passphrase_comes_from_a_file(here, sealed):
    store = sealed / "ckpts"
    me = ["--identity", sealed / "me.key"]
    added = here("keys", "add", "--new-passphrase-file", sealed / "phrase", *me, store=store)
    assert added.status == 0 and "can open" in added.out
    done = here("log", "r", "--passphrase-file", sealed / "phrase", store=store)
    assert done.status == 0 and "0.5" in done.out
    done = here("log", HOLDFAST_PASSPHRASE_FILE=str(sealed / "phrase"), store=store)
    assert done.status == 0


def test_a_passphrase_is_asked_for_on_a_terminal(sealed):
    store = holdfast.Store(sealed / "ckpts", keys=keys.identity(sealed / "me.key"))
    store.keys.add(keys.passphrase(PHRASE))
    status, screen = on_terminal("log", "r", store=sealed / "ckpts", typed=PHRASE + "\n")
    assert status == 0 and "0.5" in screen and "Passphrase of" in screen
    assert PHRASE not in screen


@pytest.mark.parametrize("arguments", [[], ["--identity", "ada.key"]], ids=["none", "wrong"])
def test_without_the_right_key_there_is_one_error(here, sealed, arguments):
    arguments = [sealed / a if a.endswith(".key") else a for a in arguments]
    for command in (["log"], ["verify"], ["keys", "list"], ["keys", "rotate"]):
        done = here(*command, *arguments, store=sealed / "ckpts", XDG_CONFIG_HOME=str(sealed))
        assert done.status == 2 and done.out == ""
        assert ("error[wrong-key]" if arguments else "error[key-needed]") in done.err


def test_a_key_file_that_others_can_read_is_refused(here, sealed):
    (sealed / "me.key").chmod(0o644)
    done = here("log", "--identity", sealed / "me.key", "--debug", store=sealed / "ckpts")
    assert done.status == 2
    assert f"chmod 600 {sealed / 'me.key'}" in done.err.replace("\n  ", "")
    assert "AGE-SECRET-KEY" not in done.err


def test_holders_come_and_go(here, sealed):
    store, me = sealed / "ckpts", ["--identity", sealed / "me.key"]
    assert (
        here("keys", "add", public(sealed, "ada"), "--label", "ada", *me, store=store).status == 0
    )
    listed = here("keys", "list", "--json", *me, store=store).json
    assert [h["label"] for h in listed["holders"]] == ["", "ada"]
    assert listed["generations"] == [1]
    ada = ["--identity", sealed / "ada.key"]
    assert here("log", *ada, store=store).status == 0
    assert "generation 2" in here("keys", "rotate", *me, store=store).out
    removed = here("keys", "remove", "ada", *me, store=store)
    assert removed.status == 0 and "ada" in removed.out
    assert here("log", *ada, store=store).status == 2
    report = here("keys", "reencrypt", "--json", *me, store=store)
    assert report.status == 0 and report.json["ok"] and report.json["retired"] == [1, 2]
    assert here("verify", *me, store=store).status == 0
    assert "number 3" in here("keys", "list", *me, store=store).out


@pytest.mark.parametrize("arguments", [[], ["age1x", "--new-passphrase"], ["hush-hush"]], ids=str)
def test_what_is_no_key_is_not_added(here, sealed, arguments):
    me = ["--identity", sealed / "me.key"]
    done = here("keys", "add", *arguments, *me, store=sealed / "ckpts")
    assert done.status == 2 and "hush" not in done.err


def test_a_private_key_that_is_mistaken_for_a_public_one_is_not_shown(here, sealed):
    secret = keys.identity(sealed / "me.key").secrets[0]
    for given in (secret, f" {secret}", f"age1{secret}", secret.lower()):
        done = here("keys", "add", given, "--identity", sealed / "me.key", store=sealed / "ckpts")
        assert done.status == 2 and secret.lower()[20:40] not in done.err.lower()


def test_nobody_is_called_nothing(here, sealed):
    store, me = sealed / "ckpts", ["--identity", sealed / "me.key"]
    here("keys", "add", public(sealed, "ada"), "--label", "ada", *me, store=store)
    assert here("keys", "remove", "", *me, store=store).status == 2
    assert here("log", *me, store=store).status == 0


def test_a_store_that_is_made_with_keys_named_is_encrypted(here, sealed):
    np.savez(sealed / "w.npz", hush=np.arange(3.0))
    imported = ("import", sealed / "w.npz", "--run", "hush")
    done = here(*imported, "--identity", sealed / "me.key", store=sealed / "new")
    assert done.status == 0, done.err
    settings = sealed / "holdfast" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(f'[stores."{sealed / "set"}"]\nidentity = "{sealed / "me.key"}"\n')
    done = here(*imported, store=sealed / "set", XDG_CONFIG_HOME=str(sealed))
    assert done.status == 0, done.err
    for name in ("new", "set"):
        assert here("log", store=sealed / name, XDG_CONFIG_HOME=str(sealed / "none")).status == 2
        assert not [p for p in (sealed / name).rglob("*") if "hush" in p.name]


def test_a_store_in_the_open_in_place_of_an_encrypted_one_is_refused(here, sealed):
    holdfast.save(sealed / "open", {"w": np.zeros(3)}, run="r", step=1)
    np.savez(sealed / "w.npz", hush=np.arange(3.0))
    settings = sealed / "holdfast" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(f'[stores."{sealed / "open"}"]\nidentity = "{sealed / "me.key"}"\n')
    for command in (["log"], ["import", sealed / "w.npz", "--run", "hush"]):
        done = here(*command, store=sealed / "open", XDG_CONFIG_HOME=str(sealed))
        assert done.status == 2 and "is not encrypted" in done.err
    assert holdfast.Store(sealed / "open").runs() == ["r"]


@pytest.mark.parametrize("line", ["identity = 5", 'passphrase = "hush"', "identity = []"])
def test_settings_that_make_no_sense_are_told(here, sealed, line):
    settings = sealed / "holdfast" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(f'[stores."{sealed / "ckpts"}"]\n{line}\n')
    done = here("log", store=sealed / "ckpts", XDG_CONFIG_HOME=str(sealed))
    assert done.status == 2 and "config.toml" in done.err and "hush" not in done.err


def test_damage_is_left_alone_and_told(here, sealed):
    store, me = sealed / "ckpts", ["--identity", sealed / "me.key"]
    (pack,) = store.glob("runs/*/packs/*")
    pack.write_bytes(bytes(pack.stat().st_size))
    here("keys", "rotate", *me, store=store)
    done = here("keys", "reencrypt", *me, store=store)
    assert done.status == 1 and "damaged" in done.out


def test_diff_looks_into_an_encrypted_store(here, sealed):
    holdfast.save(sealed / "open", {"w": np.arange(9.0)}, run="r", step=1)
    me = ["--identity", sealed / "me.key"]
    ran = here("diff", "r@1", "r@1", "--other", sealed / "ckpts", *me, store=sealed / "open")
    assert ran.status == 0 and "equal, bit for bit" in ran.out, ran.err


def test_repair_takes_from_an_encrypted_store(here, sealed):
    store, me = sealed / "ckpts", ["--identity", sealed / "me.key"]
    backup = holdfast.Store(sealed / "backup", keys=keys.identity(sealed / "me.key"))
    holdfast.Store(store, keys=keys.identity(sealed / "me.key")).copy("r@1", backup)
    (pack,) = store.glob("runs/*/packs/*")
    pack.unlink()
    assert here("repair", *me, store=store).status == 1
    assert here("repair", "--from", backup.path, *me, store=store).status == 0


def test_keys_that_are_in_the_environment_do_no_harm_to_a_plain_store(here, sealed):
    holdfast.save(sealed / "plain", {"n": 1}, run="r", step=1)
    env = {"HOLDFAST_IDENTITY": str(sealed / "me.key")}
    assert here("log", store=sealed / "plain", **env).status == 0
    assert here("keys", "list", store=sealed / "plain", **env).status == 2


def test_every_command_has_an_example(here):
    for command in ("new", "list", "add", "remove", "rotate", "reencrypt"):
        assert f"keys {command}" in here("keys", command, "--help").out.split("Example:\n")[1]


@pytest.mark.parametrize("command", ["copy", "export"])
def test_what_leaves_an_encrypted_store_in_the_open_is_told(here, sealed, command):
    arguments = [
        command,
        "r@t",
        sealed / "out",
        *(["--format", "npz"] if command == "export" else []),
    ]
    done = here(*arguments, "--identity", sealed / "me.key", "--json", store=sealed / "ckpts")
    assert done.status == 0 and done.json
    assert "not encrypted, as the store is that it came from" in " ".join(done.err.split())
