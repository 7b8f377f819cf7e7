"""Every way to fail has its exit status, its kind and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from cli_running import COMMAND, environment, holdfast

from holdfast.cli.failures import failure_of
from holdfast.errors import ChunkDamaged, NoSpace


def _fails(ran, status, kind):
    assert ran.status == status, ran.err
    assert ran.out == ""
    assert ran.err.startswith(f"error[{kind}]: "), ran.err
    assert "Traceback" not in ran.err


def test_no_store_names_both_ways():
    ran = holdfast("log")
    _fails(ran, 2, "usage")
    assert "--store" in ran.err
    assert "HOLDFAST_STORE" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["log", "--frobnicate"],
        ["show"],
        ["show", "gpt@1", "--limit", "-1"],
        ["bench", "--rounds", "0"],
        ["log", "--store"],
    ],
)
def test_wrong_usage(here, arguments):
    _fails(here(*arguments), 2, "usage")


def test_no_command_shows_the_help(here):
    ran = here()
    assert ran.status == 2
    assert "Commands:" in ran.out


def test_a_store_that_is_not_there(here, tmp_path):
    ran = here("log", store=tmp_path / "nowhere")
    _fails(ran, 2, "not-found")
    assert "nowhere" in ran.err
    assert not (tmp_path / "nowhere").exists(), "reading makes no store"


def test_a_store_that_is_a_file(here, tmp_path):
    file = tmp_path / "file"
    file.write_text("not a store")
    ran = here("log", store=file)
    assert ran.status in (2, 3)
    assert ran.err.startswith("error[")
    assert file.read_text() == "not a store"


def test_a_folder_that_is_no_store(here, tmp_path):
    ran = here("log", store=tmp_path)
    assert ran.status == 2, ran.err + ran.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_without_permission(store):
    store.chmod(0)
    try:
        _fails(holdfast("log", store=store), 3, "store-unavailable")
    finally:
        store.chmod(0o700)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["log", "gtp"], "not-found"),
        (["show", "gpt@150"], "not-found"),
        (["show", "gpt@nowhere"], "not-found"),
        (["verify", "gtp@latest"], "not-found"),
        (["show", "gpt"], "invalid-name"),
        (["rm", "gpt@150", "--yes"], "not-found"),
        (["prune", "gtp", "--keep", "last:1"], "not-found"),
    ],
)
def test_names_that_do_not_exist(here, pristine, arguments, kind):
    _fails(here(*arguments, store=pristine), 2, kind)


def test_errors_as_json(here, pristine):
    ran = holdfast("show", "gpt@150", "--json", store=pristine)
    assert (ran.status, ran.out) == (2, "")
    assert ran.error["kind"] == "not-found"
    assert ran.error["exit_code"] == 2
    assert ran.error["message"]
    assert here("log", "--json", "--frobnicate").error["kind"] == "usage"


def test_debug_shows_the_traceback_wherever_it_is_said(here, pristine):
    ran = here("show", "gpt@150", "--debug", store=pristine)
    assert ran.status == 2
    assert "Traceback" in ran.err
    assert "error[not-found]" in ran.err
    ran = here("--debug", "show", "gpt@150", "--json", store=pristine)
    assert "Traceback" in ran.error["traceback"]


def test_what_exceptions_become():
    damage = failure_of(ChunkDamaged("chunk 9f is damaged", chunk="9f"))
    assert (damage.kind, damage.exit_code, damage.facts) == ("chunk-damaged", 1, {"chunk": "9f"})
    full = failure_of(OSError(28, "No space left on device", "ckpts/part"))
    assert (full.kind, full.exit_code) == (NoSpace.kind, 3)
    assert "'ckpts/part'" in full.message
    denied = failure_of(PermissionError(13, "Permission denied", b"ckpts"))
    assert (denied.kind, denied.exit_code) == ("environment", 3)
    assert failure_of(MemoryError()).exit_code == 3
    bug = failure_of(ZeroDivisionError("division by zero"))
    assert bug.kind == "internal"
    assert "--debug" in bug.message


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_ends_a_command_is_no_traceback(number, status):
    code = (
        "import sys, time, holdfast.cli, holdfast.cli.app as app\n"
        "def work(context):\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleared away', flush=True)\n"
        "app.options.named_store = work\n"
        "sys.argv = ['holdfast', 'doctor']\n"
        "sys.exit(holdfast.cli.main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert out == "cleared away\n"
    assert err.startswith("Interrupted.")
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_error(pristine):
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [str(COMMAND), "log"],
        env=environment(HOLDFAST_STORE=str(pristine)),
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")
