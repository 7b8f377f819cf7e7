"""Where a checkpoint was made: versions, machine, code; and what differs where it is restored."""

from __future__ import annotations

import functools
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from holdfast.version import __version__

_PACKAGES = (
    *("numpy", "torch", "jax", "flax", "optax", "equinox", "tensorflow", "keras"),
    *("transformers", "lightning", "sklearn", "xgboost", "lightgbm"),
)
_MACHINE = ("python", "platform", "byteorder", "holdfast", "host")
# What is imported by another name than it is installed by.
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
_SECRET = re.compile(r"(secret|token|passw|passphrase|api[-_]?key|credential)", re.IGNORECASE)
_devices: dict[str, Callable[[], object]] = {}


def register_devices(framework: str, describe: Callable[[], object]) -> None:
    """Let a framework say which devices it sees, such as ``["NVIDIA H200"]``."""
    _devices[framework] = describe


def capture() -> dict[str, object]:
    """Return what is known of this process' environment, as plain JSON values."""
    found = dict(_fixed())
    found["packages"] = {
        name: str(getattr(sys.modules[name], "__version__", "?"))
        for name in _PACKAGES
        if name in sys.modules
    }
    found["devices"] = {name: describe() for name, describe in _devices.items()}
    return found


@functools.cache
def _fixed() -> Mapping[str, object]:
    return {
        "holdfast": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "byteorder": sys.byteorder,
        "host": socket.gethostname(),
        "command": masked(sys.orig_argv),
        "git": _git(),
    }


def masked(argv: list[str]) -> list[str]:
    """Return a command line with the values of arguments that sound secret replaced.

    >>> masked(["train.py", "--api-key", "abc", "--token=x", "--lr", "1"])
    ['train.py', '--api-key', '***', '--token=***', '--lr', '1']
    """
    out: list[str] = []
    hide_next = False
    for arg in argv:
        name, eq, _ = arg.partition("=")
        secret = bool(_SECRET.search(name))
        if hide_next and not arg.startswith("-"):
            out.append("***")
        elif secret and eq:
            out.append(f"{name}=***")
        else:
            out.append(arg)
        hide_next = secret and not eq and arg.startswith("-")
    return out


def _git() -> dict[str, object] | None:
    def git(*args: str) -> str:
        done = subprocess.run(
            # No optional locks: a training script must not stand in the way of its user's git.
            ["git", "--no-optional-locks", *args],
            capture_output=True,
            text=True,
            timeout=2,
            check=True,
            cwd=os.getcwd(),
        )
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that differs between two environments, and whether it may change results."""

    text: str
    may_change_results: bool


def differences(saved: Mapping[str, object], now: Mapping[str, object]) -> list[Difference]:
    """Return in words what differs between two environments and may matter to a run."""
    out = []
    for key in _MACHINE:
        if key in saved and saved[key] != now.get(key):
            text = f"{key}: saved with {saved[key]}, here {now.get(key)}"
            out.append(Difference(text, key not in ("holdfast", "host")))
    for group in ("packages", "devices"):
        was, is_ = _mapping(saved.get(group)), _mapping(now.get(group))
        for name in sorted(was):
            if was[name] != is_.get(name):
                here = is_.get(name, "not loaded")
                text = f"{name} {group}: saved with {was[name]}, here {here}"
                out.append(Difference(text, name in is_))
    was, is_ = _mapping(saved.get("git")), _mapping(now.get("git"))
    if was and was.get("commit") != is_.get("commit"):
        text = f"code: saved at commit {was.get('commit')}, here {is_.get('commit')}"
        out.append(Difference(text, True))
    if is_.get("dirty") and not was.get("dirty"):
        out.append(Difference("code: the working tree has changes that are not committed", True))
    if "command" in saved and saved["command"] != now.get("command"):
        text = f"command: saved by {saved['command']}, here {now.get('command')}"
        out.append(Difference(text, False))
    return out


def differences_here(saved: Mapping[str, object]) -> list[Difference]:
    """Return what differs between a saved environment and this machine, where nothing trains.

    Versions are those that are installed; devices, code and command line are not compared.
    """
    was = {name: saved[name] for name in _MACHINE if name in saved}
    packages = {name: _installed(name) for name in _mapping(saved.get("packages"))}
    known = {name: version for name, version in packages.items() if version is not None}
    was["packages"] = {n: v for n, v in _mapping(saved.get("packages")).items() if n in known}
    here = {name: _fixed()[name] for name in _MACHINE}
    return differences(was, {**here, "packages": known})


def _installed(package: str) -> str | None:
    """Return the version of a package without importing it; None where it has another name."""
    # Not light to import, and only needed here.
    from importlib import metadata

    try:
        return metadata.version(_DISTRIBUTIONS.get(package, package))
    except metadata.PackageNotFoundError:
        return None if find_spec(package) else "not installed"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
