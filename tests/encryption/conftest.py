"""Keys, and stores that are sealed with them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.security import keys
from holdfast.security.keys import Identity

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    made = {name: folder / f"{name}.key" for name in ("me", "ada", "bob")}
    for path in made.values():
        keys.new_identity(path)
    return made


@pytest.fixture(scope="session")
def me(key_files: dict[str, Path]) -> Identity:
    return keys.identity(key_files["me"])


@pytest.fixture(scope="session")
def ada(key_files: dict[str, Path]) -> Identity:
    return keys.identity(key_files["ada"])


@pytest.fixture(scope="session")
def bob(key_files: dict[str, Path]) -> Identity:
    return keys.identity(key_files["bob"])
