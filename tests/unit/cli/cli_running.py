"""Run the real command, piped or on a terminal."""

from __future__ import annotations

import json
import os
import pty
import selectors
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts")) / "holdfast"
_LIMIT_S = 60


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        """The error of a command with --json: the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])["error"]


def environment(**extra: str | None) -> dict[str, str]:
    """The environment of this process without what decides how output looks."""
    settings = {
        "HOLDFAST_STORE",
        "HOLDFAST_TRUST",
        "HOLDFAST_IDENTITY",
        "HOLDFAST_PASSPHRASE_FILE",
        "HOLDFAST_SIGN_KEY",
        "COLUMNS",
        "NO_COLOR",
        "FORCE_COLOR",
        "TERM",
        "LINES",
    }
    base = {name: value for name, value in os.environ.items() if name not in settings}
    return base | {"TERM": "xterm-256color"} | {k: v for k, v in extra.items() if v is not None}


def holdfast(*arguments: object, store: Path | None = None, **env: str) -> Ran:
    """Run the command with its output piped."""
    variables = environment(HOLDFAST_STORE=None if store is None else str(store), **env)
    done = subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_LIMIT_S,
        check=False,
        encoding="utf-8",
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def on_terminal(
    *arguments: object, store: Path, typed: str = "", prompt: bytes = b"?", **env: str
) -> tuple[int, str]:
    """Run the command on a terminal; the text is typed when it asks. Returns status and screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(COMMAND), *map(str, arguments)],
        env=environment(HOLDFAST_STORE=str(store), **({"COLUMNS": "100"} | env)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # Else a passphrase would be asked on the terminal that the tests run on.
        start_new_session=True,
    )
    os.close(theirs)
    screen, end = b"", time.monotonic() + _LIMIT_S
    selector = selectors.DefaultSelector()
    selector.register(ours, selectors.EVENT_READ)
    while time.monotonic() < end:
        ready = selector.select(0.2)
        if ready:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux: the other side is closed.
                break
            if not piece:
                break
            screen += piece
        if typed and prompt in screen:
            os.write(ours, typed.encode())
            typed = ""
    selector.close()
    os.close(ours)
    return process.wait(timeout=_LIMIT_S), screen.decode()


def flip_byte(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but for the catalog, to prove that nothing was changed."""
    found = (path for path in files(folder) if not path.name.startswith("catalog.sqlite"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
