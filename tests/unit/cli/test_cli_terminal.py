"""How output looks: on terminals, narrow ones, piped, without colour, and the helps."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from cli_running import environment, holdfast, on_terminal

from holdfast.cli.app import app_for

ESCAPE = "\x1b"
COMMANDS = (
    *("demo", "log", "show", "diff", "plot", "bisect", "verify", "tag", "rm", "rollback", "prune"),
    *("copy", "bench", "doctor"),
)


@pytest.mark.parametrize("arguments", [["log", "gpt"], ["show", "gpt@latest"], ["verify"]])
def test_piped_output_is_plain(pristine, arguments):
    ran = holdfast(*arguments, store=pristine)
    assert ESCAPE not in ran.out + ran.err
    assert "\r" not in ran.out + ran.err
    assert ran.err == "", "no progress bar where nobody looks"


@pytest.mark.parametrize("arguments", [["log"], ["log", "gpt"], ["show", "gpt@200"], ["verify"]])
def test_narrow_terminals_lose_nothing(here, pristine, arguments):
    wide = here(*arguments, store=pristine).out
    narrow = here(*arguments, store=pristine, COLUMNS="40").out
    assert max(map(len, narrow.splitlines())) <= 40
    for word in ("400", "best_model_v1", "val_loss", "model/weight", "gpt@100"):
        assert (word in wide) == (word in narrow), word


def test_a_terminal_has_colour_and_obeys_no_color(pristine):
    status, screen = on_terminal("log", "gpt", store=pristine)
    assert status == 0
    assert ESCAPE in screen
    status, screen = on_terminal("log", "gpt", store=pristine, NO_COLOR="1")
    assert status == 0
    assert ESCAPE not in screen
    _, screen = on_terminal("show", "gpt@150", store=pristine, NO_COLOR="1")
    assert ESCAPE not in screen


def test_a_terminal_that_knows_only_ascii(pristine):
    ran = holdfast("log", "gpt", store=pristine, PYTHONIOENCODING="ascii")
    assert ran.status == 0
    assert ran.out.isascii()
    assert "accuracy max 0.4 @400, val_loss min 0.4 @200" in ran.out


def test_a_bar_is_shown_to_those_who_watch(monkeypatch, capsys):
    from holdfast.cli import progress

    monkeypatch.setattr(progress, "_SHOW_AFTER_S", 0)
    monkeypatch.setattr(progress, "watched", lambda: True)
    with progress.ByteBar("checking") as bar:
        bar(0, 100)
        assert bar._progress is not None
        bar(100, 100)
    monkeypatch.setattr(progress, "watched", lambda: False)
    with progress.ByteBar("checking") as bar:
        bar(0, 100)
        assert bar._progress is None


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(here, command):
    ran = here(command, "--help")
    assert ran.status == 0
    text = " ".join(ran.out.split())
    assert re.search(rf"Example: holdfast (--store ckpts )?{command}\b", text)


def test_the_help_names_all_commands_and_statuses(here):
    ran = here("--help")
    assert ran.status == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command}\s+\w", ran.out, re.MULTILINE)
    assert "HOLDFAST_STORE" in ran.out
    assert "Exit status" in ran.out


def test_version():
    import holdfast as package

    ran = holdfast("--version")
    assert (ran.status, ran.out, ran.err) == (0, f"holdfast {package.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("log",),
        ("log", "gpt"),
        ("--debug", "log", "gpt", "--json"),
        ("show", "gpt@latest"),
        ("tag", "gpt@latest", "x"),
    ],
)
def test_a_look_loads_only_what_it_needs(store, arguments):
    code = (
        "import sys, holdfast.cli\n"
        f"sys.argv = ['holdfast', *{arguments!r}]\n"
        "status = holdfast.cli.main()\n"
        "heavy = {'numpy', 'torch', 'holdfast.actions', 'holdfast.engine.run_writer'}\n"
        "heavy |= {f'holdfast.cli.{name}' for name in ('bench', 'report', 'diff', 'keys')}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(HOLDFAST_STORE=str(store)),
    )
    assert done.returncode == 0, done.stderr


def test_only_the_command_that_is_asked_for_is_made_ready():
    names = {
        ("log", "--help"): ["log"],
        ("--store", "show", "log"): ["log"],
        ("--store=s", "--debug", "import", "x"): ["import"],
        ("keys", "list"): [],
    }
    for arguments, expected in names.items():
        app = app_for(arguments)
        assert [command.name for command in app.registered_commands] == expected
        assert len(app.registered_groups) == (not expected)
    for arguments in ((), ("--help",), ("--help", "log"), ("lgo",), ("--", "log"), ("--store",)):
        assert len(app_for(arguments).registered_commands) > 20


def test_help_and_version_load_nothing_heavy():
    code = (
        "import sys, holdfast.cli, holdfast.cli.app\n"
        "sys.argv = ['holdfast', '--help']\n"
        "holdfast.cli.main()\n"
        "heavy = {'torch', 'numpy', 'rich.console', 'holdfast.bench.runner'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
