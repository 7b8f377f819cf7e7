"""An export that another process makes, so that training keeps its own to itself.

Reading, checking and writing a checkpoint takes the interpreter's lock again and again; a thread of
the trainer's process would slow training down by it. The process is a new interpreter without any
framework; what opens the store, keys perhaps, goes to it through a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast import convert
from holdfast.engine import remote_signing
from holdfast.engine.handle import error_of_kind
from holdfast.errors import HoldfastError, SaveFailed
from holdfast.repository import Store
from holdfast.security.authenticity import Authenticity
from holdfast.store.recipe import recipe_of, reopen, to_message

BUNDLE = "bundle"
# Training goes first.
_NICE = 10
_MAIN = (
    "import sys; sys.path[:] = eval(sys.argv.pop()); "
    "from holdfast.integrations.export_process import main; main()"
)


def export_elsewhere(
    store: Store,
    ref: str,
    path: Path,
    *,
    format: str,
    options: Mapping[str, Any],
) -> None:
    """Export a checkpoint in a process of its own; it is read back when this returns.

    Args:
        store: Where it is.
        ref: The checkpoint.
        path: The file or folder to make.
        format: Name of a format, or ``bundle``.
        options: More arguments of ``holdfast.convert.export``, plain values.

    Raises:
        HoldfastError: What went wrong there; nothing is left at path.
    """
    trust = Authenticity((), store.place.authenticity.trust)
    asked = {
        "store": to_message(recipe_of(store.place.open())),
        "trust": remote_signing.to_message(trust),
        "ref": ref,
        "path": os.path.abspath(path),
        "format": format,
        "options": dict(options),
    }
    search = repr([entry or os.getcwd() for entry in sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", _MAIN, search],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A Ctrl-C in the trainer's terminal is for the trainer.
        start_new_session=True,
    ) as process:
        try:
            answer = _ask(process, asked)
        except BaseException:
            process.kill()
            raise
    if answer.get("done"):
        return
    if "kind" in answer:
        raise error_of_kind(answer["kind"], answer["message"], {})
    raise SaveFailed(
        f"The process that should have written {ref} as {format} ended with status "
        f"{process.returncode}. The checkpoint itself is safe in the store. Its messages are on "
        "the standard error of this process.",
        ref=ref,
    )


def _ask(process: subprocess.Popen[bytes], asked: Mapping[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
    # Not closed before there is an answer: by its end the other side knows that this one is dead.
    told = process.stdout.read()
    try:
        answer: dict[str, Any] = json.loads(told)
    except ValueError:
        return {}
    return answer


def main() -> None:
    """Do what is asked on standard input, and say on standard output how it went."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_the_trainer, daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    try:
        _export(asked)
        answer: dict[str, Any] = {"done": True}
    except HoldfastError as error:
        answer = {"kind": error.kind, "message": str(error)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    # The thread that reads standard input is in the way of an end by itself.
    os._exit(0)


def _export(asked: Mapping[str, Any]) -> None:
    trust = remote_signing.from_message(asked["trust"], _nobody).trust
    store = Store(reopen(asked["store"]), trust=trust)
    if asked["format"] == BUNDLE:
        store.copy(asked["ref"], asked["path"])
    else:
        convert.export(
            store, asked["ref"], asked["path"], format=asked["format"], **asked["options"]
        )


def _nobody(key: bytes, message: bytes) -> bytes:
    raise AssertionError("nothing is signed here")


def _die_with_the_trainer() -> None:
    # What it was making is in a folder that the trainer would have removed.
    with contextlib.suppress(OSError, ValueError):
        sys.stdin.buffer.read()
    os._exit(1)
