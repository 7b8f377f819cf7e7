"""Keys as people hold them: files, passphrases, public halves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from holdfast import keys
from holdfast.errors import (
    AlreadyExists,
    InvalidKey,
    KeyExposed,
    MissingDependency,
    NotFound,
    StoreUnavailable,
)
from holdfast.security.private_files import read_private, write_secret


def test_a_file_of_the_tool_is_read_comments_and_all(tmp_path: Path) -> None:
    made = [keys.new_identity(tmp_path / f"{i}.key") for i in range(2)]
    both = tmp_path / "both.key"
    write_secret(both, b"\n".join((tmp_path / f"{i}.key").read_bytes() for i in range(2)))
    assert keys.identity(both).recipients == tuple(key.text for key in made)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_key_file_that_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    keys.new_identity(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(KeyExposed, match=f"{mode:04o}.*chmod 600") as caught:
        keys.identity(tmp_path / "k")
    assert caught.value.exit_code == 2
    (tmp_path / "k").chmod(0o400)
    assert keys.identity(tmp_path / "k").recipients


def test_a_new_key_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.new_identity(tmp_path / "k")
    finally:
        os.umask(before)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    content = (tmp_path / "k").read_bytes()
    with pytest.raises(AlreadyExists):
        keys.new_identity(tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == content


def test_what_is_no_key_file_is_said_so_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        keys.identity(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises((InvalidKey, StoreUnavailable)):
            read_private(str(path), KeyExposed, InvalidKey)
    for text in (b"", b"# a comment\n", b"hush hush\n", b"AGE-SECRET-KEY-1HUSH\n", b"\xff\xfe"):
        path = tmp_path / "k"
        path.unlink(missing_ok=True)
        write_secret(path, text)
        with pytest.raises(InvalidKey) as caught:
            keys.identity(path)
        assert "hush" not in str(caught.value).lower()
    with open(tmp_path / "large", "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.truncate(2 << 20)
    with pytest.raises(InvalidKey):
        keys.identity(tmp_path / "large")


@pytest.mark.parametrize("text", ["", "  ", None, 5])
def test_an_empty_passphrase_is_refused(text: object) -> None:
    with pytest.raises(InvalidKey):
        keys.passphrase(text)  # type: ignore[arg-type]


def test_a_passphrase_is_the_same_however_it_was_typed() -> None:
    assert keys.passphrase("Möhre").secret == keys.passphrase("Mo\u0308hre").secret
    assert keys.passphrase("x ").secret != keys.passphrase("x").secret


@pytest.mark.parametrize("text", ["age1", "hush", "AGE-SECRET-KEY-1HUSH", "", None])
def test_what_is_no_public_key_is_refused_and_a_secret_not_shown(text: object) -> None:
    with pytest.raises(InvalidKey) as caught:
        keys.recipient(text)  # type: ignore[arg-type]
    assert "hush" not in str(caught.value).lower()


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(MissingDependency, match=r"pip install 'holdfast\[encryption\]'"):
        keys.new_identity(tmp_path / "k")
    assert not (tmp_path / "k").exists()
