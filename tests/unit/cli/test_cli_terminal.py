"""How output looks: on terminals, narrow ones, piped, without colour, and the helps."""

from __future__ import annotations

import io
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


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("command", [(), ("show",), ("bisect",), ("keys", "add"), ("trust",)])
def test_helps_fit_and_cut_nothing_off(here, command, columns):
    text = here(*command, "--help", COLUMNS=str(columns)).out
    lines, example = text.partition("  Example:\n")[::2]
    assert max(map(len, lines.splitlines())) <= min(columns, 100)
    assert "..." not in lines.replace("[ARGS]...", "")
    assert "{REF}" not in lines
    assert "{RUN}" not in lines
    # Ready to be copied, however narrow the terminal is.
    assert re.fullmatch(r"    holdfast [^\n]*\n", example)


@pytest.mark.parametrize("group", ["keys", "trust"])
def test_a_group_without_a_command_shows_its_help(here, group):
    ran = here(group)
    assert (ran.status, ran.err) == (2, "")
    assert ran.out == here(group, "--help").out


def test_a_terminal_sees_how_the_main_metric_went(pristine):
    _, screen = on_terminal("log", "gpt", store=pristine, NO_COLOR="1")
    assert "accuracy ▁▃▆█ 0.1 → 0.4" in screen or "val_loss █▁▄ 0.9 → 0.6" in screen
    _, screen = on_terminal("log", store=pristine, NO_COLOR="1", COLUMNS="140")
    assert re.search(r"saved +trend", screen)
    for env in ({"COLUMNS": "60"}, {"COLUMNS": "140", "PYTHONIOENCODING": "ascii"}):
        status, screen = on_terminal("log", store=pristine, NO_COLOR="1", **env)
        assert status == 0
        assert "trend" not in screen
    assert "▁" not in holdfast("log", "gpt", store=pristine).out
    assert "trend" not in holdfast("log", store=pristine).out


def test_a_dumb_terminal_has_the_width_that_it_says(pristine):
    _, screen = on_terminal("log", "gpt", store=pristine, TERM="dumb", COLUMNS="40")
    assert ESCAPE not in screen
    assert max(map(len, screen.splitlines())) <= 40


def test_a_bar_stays_on_one_line(monkeypatch):
    from rich.console import Console

    from holdfast.cli import output, progress

    monkeypatch.setattr(progress, "_SHOW_AFTER_S", 0)
    monkeypatch.setattr(progress, "watched", lambda: True)
    for columns in (40, 80, 200):
        console = Console(width=columns, force_terminal=True, record=True, file=io.StringIO())
        monkeypatch.setattr(output, "stderr", lambda console=console: console)
        with progress.ByteBar("comparing") as bar:
            bar(123_456_789, 987_654_321)
            assert bar._progress is not None
            shown = console.render_lines(bar._progress.get_renderable())
            assert len(shown) == 1


def test_a_report_keeps_its_bars_where_there_is_room(here, tmp_path):
    from holdfast import Checkpointer, every

    with Checkpointer(tmp_path / "s", {"w": [0.0]}, run="trained", save=every(steps=5)) as ckpt:
        for step in range(11):
            ckpt.step(step)
    for columns, bars in ((36, 0), (48, 1), (100, 1)):
        ran = here("report", "trained", store=tmp_path / "s", COLUMNS=str(columns))
        lines = ran.out.splitlines()
        table = lines[lines.index("wall-clock") :][:8] if "wall-clock" in lines else lines[2:10]
        assert max(map(len, table)) <= columns
        assert any("█" in line for line in table) == bool(bars)
        assert any(re.match(r"held by saves +[\d.]+ ", line) for line in table)


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
