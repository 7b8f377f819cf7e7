"""What is known of where a checkpoint was made, and what differs elsewhere."""

from __future__ import annotations

import json
import sys

import pytest

import holdfast
from holdfast.state import environment
from holdfast.state.environment import differences, masked


def test_an_environment_is_plain_json() -> None:
    found = environment.capture()
    assert json.loads(json.dumps(found)) == found
    assert found["holdfast"] == holdfast.__version__
    assert found["python"] == sys.version.split()[0]
    assert "numpy" in found["packages"]  # type: ignore[operator]


def test_a_framework_says_which_devices_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_devices", {})
    environment.register_devices("abacus", lambda: ["beads"])
    assert environment.capture()["devices"] == {"abacus": ["beads"]}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["t.py", "--lr", "1"], ["t.py", "--lr", "1"]),
        (["--api-key", "abc", "x"], ["--api-key", "***", "x"]),
        (["--API_KEY=abc"], ["--API_KEY=***"]),
        (["--wandb-token", "abc", "--lr", "1"], ["--wandb-token", "***", "--lr", "1"]),
        (["--password=", "x"], ["--password=***", "x"]),
        (["--secret", "--lr", "1"], ["--secret", "--lr", "1"]),
        (["HF_TOKEN=abc", "train"], ["HF_TOKEN=***", "train"]),
        (["--passphrase", "a b"], ["--passphrase", "***"]),
    ],
)
def test_what_sounds_secret_is_masked(argv: list[str], shown: list[str]) -> None:
    assert masked(argv) == shown


BASE = {
    "python": "3.11.1",
    "platform": "Linux-x86_64",
    "byteorder": "little",
    "holdfast": "0.1",
    "host": "a",
    "packages": {"numpy": "2.0", "torch": "2.6"},
    "devices": {"torch": ["cpu"]},
    "git": {"commit": "abc", "dirty": False},
    "command": ["python", "t.py"],
}


def test_equal_environments_do_not_differ() -> None:
    assert differences(BASE, dict(BASE)) == []
    assert differences({}, BASE) == []


@pytest.mark.parametrize(
    ("change", "said", "matters"),
    [
        ({"python": "3.12.0"}, ["python", "3.11.1", "3.12.0"], True),
        ({"platform": "Darwin-arm64"}, ["Linux-x86_64", "Darwin-arm64"], True),
        ({"host": "b"}, ["host", "a", "b"], False),
        ({"packages": {"numpy": "2.4", "torch": "2.6"}}, ["numpy", "2.0", "2.4"], True),
        ({"packages": {"numpy": "2.0"}}, ["torch", "2.6", "not loaded"], False),
        ({"devices": {"torch": ["H200"]}}, ["torch devices", "cpu", "H200"], True),
        ({"git": {"commit": "def", "dirty": False}}, ["abc", "def"], True),
        ({"git": {"commit": "abc", "dirty": True}}, ["not committed"], True),
        ({"command": ["python", "other.py"]}, ["command", "other.py"], False),
    ],
)
def test_a_difference_is_said(change: dict[str, object], said: list[str], matters: bool) -> None:
    [found] = differences(BASE, BASE | change)
    assert all(piece in found.text for piece in said)
    assert found.may_change_results is matters


def test_a_package_that_is_new_here_is_no_difference() -> None:
    more = {"packages": {**BASE["packages"], "jax": "0.10"}}  # type: ignore[dict-item]
    assert differences(BASE, BASE | more) == []


def test_what_is_stored_may_be_anything() -> None:
    assert differences({"packages": 5, "devices": None, "git": "x"}, BASE) is not None
