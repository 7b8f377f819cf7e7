"""Every test that asks for a ``written`` store runs on each store of each release."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written_stores import STORES, Written, opened, releases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "written" in metafunc.fixturenames:
        every = [f"{release}/{name}" for release, stores in releases().items() for name in stores]
        metafunc.parametrize("written", every, indirect=True)


@pytest.fixture
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    release, _, name = request.param.partition("/")
    folder = tmp_path / release
    shutil.copytree(STORES / release, folder)
    return Written(name, folder, opened(folder, name), releases()[release][name])
