"""Tab in a shell: commands, options, and the runs and refs of the store that was named."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cli_running import COMMAND, environment, holdfast

import holdfast as package
from holdfast.cli.shells import joined

# A sign, or what lies between two.
_CUT = re.compile(r"[@:=]|[^@:=]+")
REFS = ["latest", "best_model_v1", "best:accuracy", "best:val_loss", "400", "300", "200", "100"]


def offered(line: str, store: Path | None = None, **env: str) -> list[str]:
    """What bash is told for a line, which ends where Tab is pressed."""
    pieces = ["holdfast", *_pieces(line)]
    ran = holdfast(
        store=store,
        _HOLDFAST_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(pieces),
        COMP_CWORD=str(len(pieces) - 1),
        **env,
    )
    assert ran.err == ""
    return ran.out.split("\n")[:-1] if ran.out else []


def _pieces(line: str) -> list[str]:
    """Cut as bash does, whose COMP_WORDBREAKS has these signs."""
    *before, last = line.split(" ")
    cut = [piece for word in before for piece in _CUT.findall(word)]
    return cut + (_CUT.findall(last) or [""])


def test_commands_and_options():
    assert offered("lo") == ["log"]
    assert {"show", "sign", "simulate", "scan"} == set(offered("s"))
    assert offered("show --no-l") == ["--no-leaves"]
    assert offered("keys re") == ["remove", "reencrypt"]


def test_runs_and_refs_of_the_store(pristine):
    assert offered("log ", pristine) == ["gpt", "probe"]
    assert offered("show ", pristine) == ["gpt@", "probe@"]
    assert offered("show g", pristine) == [f"gpt@{name}" for name in REFS]
    assert offered("show gpt@", pristine) == [f"@{name}" for name in REFS]
    assert offered("diff gpt@100 gpt@best:v", pristine) == ["val_loss"]
    assert offered("verify p", pristine) == ["probe"]
    assert offered("verify probe@", pristine) == ["@latest", "@7"]


def test_the_store_may_be_an_option(pristine):
    assert offered(f"--store {pristine} log g") == ["gpt"]
    assert offered(f"log --store {pristine} g") == ["gpt"]
    assert offered(f"--store={pristine} show gpt@3") == ["@300"]


def test_nothing_is_offered_or_said_where_nothing_can_be_read(tmp_path):
    assert offered("log ") == []
    assert offered("log ", tmp_path / "absent") == []
    assert offered("log ", Path("s3://nowhere/x")) == []
    sealed = package.Store(tmp_path / "sealed", keys=package.keys.passphrase("correct horse"))
    package.save(sealed, {"w": 1}, run="secret", step=1)
    assert offered("log ", tmp_path / "sealed") == []
    file = tmp_path / "passphrase"
    file.touch(0o600)
    file.write_text("correct horse")
    assert offered("log ", tmp_path / "sealed", HOLDFAST_PASSPHRASE_FILE=str(file)) == ["secret"]


def test_what_a_shell_would_evaluate_is_not_offered(tmp_path):
    for run in ("good", "$(reboot)", "`id`", "a'b", 'a"b', "a;b", "a b"):
        package.save(tmp_path / "s", {"w": 1}, run=run, step=1)
    assert offered("log ", tmp_path / "s") == ["good"]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [("zsh", """_arguments '*: :(("gpt@400"))'\n"""), ("fish", "gpt@400\n")],
)
def test_other_shells(pristine, shell, expected):
    ran = holdfast(
        store=pristine,
        _HOLDFAST_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS="holdfast show gpt@4",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert (ran.out, ran.err) == (expected, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell):
    ran = holdfast(_HOLDFAST_COMPLETE=f"source_{shell}")
    assert ran.status == 0
    assert f"_HOLDFAST_COMPLETE=complete_{shell}" in ran.out


def test_in_a_real_bash(pristine):
    assert in_bash("holdfast show gpt@4", pristine) == "show gpt@400"
    assert in_bash("holdfast show gpt@best:v", pristine) == "show gpt@best:val_loss"
    assert in_bash("holdfast lo", pristine) == "log"


def in_bash(line: str, store: Path) -> str:
    """Type a line and Tab into bash; what stands behind the command's name then."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [shutil.which("bash") or "bash", "--norc", "--noprofile", "-i"],
        env=environment(HOLDFAST_STORE=str(store))
        | {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "PS1": "READY> "},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    screen = b""
    screens = select.poll()  # select() takes no descriptor beyond 1,023
    screens.register(ours, select.POLLIN)

    def wait_for(text: bytes) -> None:
        nonlocal screen
        end = time.monotonic() + 60
        while text not in screen and time.monotonic() < end:
            if screens.poll(200):
                screen += os.read(ours, 65536)
        assert text in screen, screen

    os.write(ours, b"source <(holdfast --show-completion bash); echo LO''ADED\n")
    wait_for(b"LOADED")
    # Once completed, the name is taken away, and what is left is printed between two marks.
    os.write(ours, line.encode() + b"\t" + b"\x01\x1bd" + b"echo FOU''ND:" + b"\x05" + b":EN''D\n")
    wait_for(b":END")
    os.write(ours, b"exit\n")
    process.wait(timeout=60)
    os.close(ours)
    found = screen.rpartition(b"FOUND:")[2].partition(b":END")[0]
    return " ".join(found.decode().split())


def test_pieces_of_bash_are_joined():
    assert joined(["h", "show", "gpt", "@"], 3).cut == "gpt"
    assert joined(["h", "show", "gpt", "@", "best", ":"], 5).cut == "gpt@best:"
    assert joined(["h", "show", "gpt", "@", "1", ""], 5).words == ("h", "show", "gpt@1", "")
    assert joined(["h", "--store", "=", "s", "log", "g"], 5).words == ("h", "--store=s", "log", "g")
    assert joined(["h", "log"], 2).words == ("h", "log", "")
