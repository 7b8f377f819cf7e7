"""Every code block of the README and the guides runs, page by page, in order.

- ``python`` blocks of a page share one module, ``bash`` blocks one folder.
- ``python title="train.py"`` is a file that later blocks use.
- ``output`` is what the block before it prints; ``…`` stands for anything.
- ``yaml`` configures CI; the commands of holdfast in it run.
- ``text`` is no code. A block that calls make names real targets of the Makefile.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parents[2]
# The guide to the command line runs in tests/unit/cli.
GUIDES = [p for p in sorted((ROOT / "docs/guides").glob("*.md")) if p.name != "command-line.md"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *GUIDES]
LINKED = [*PAGES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^make (\w+)", re.MULTILINE)


class Page:
    """The state that the blocks of a page share, and how each kind of block is run."""

    def __init__(self, path: Path, module: types.ModuleType) -> None:
        self.path = path
        self._module = module
        self._printed = ""

    def run(self, language: str, title: str, code: str) -> None:
        if title:
            Path(title).parent.mkdir(parents=True, exist_ok=True)
            Path(title).write_text(code)
        if language == "yaml":
            for command in commands_of(yaml.safe_load(code)):
                self._bash(command)
        elif title:
            assert language == "python", f"a file of {language} that nobody runs"
        elif language == "python":
            self._python(code)
        elif language == "bash" and TARGET.search(code):
            makefile = (ROOT / "Makefile").read_text()
            assert all(f"\n{target}:" in makefile for target in TARGET.findall(code))
        elif language == "bash":
            self._bash(code)
        elif language == "output":
            pattern = ".*?".join(map(re.escape, code.strip().split("…")))
            assert re.fullmatch(pattern, self._printed.strip(), re.DOTALL), self._printed
        else:
            assert language == "text", f"a block of {language} that nobody runs"

    def _python(self, code: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, self.path.name, "exec"), vars(self._module))
        self._printed = printed.getvalue()

    def _bash(self, code: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", "-euo", "pipefail", "-c", code]
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        # The pages show what is printed without a terminal; a test runner may tell of a narrow one.
        environment.pop("COLUMNS", None)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
        self._printed = done.stdout


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A module that classes of a page can be found in, as they are in a script."""
    made = types.ModuleType("docs_page")
    monkeypatch.setitem(sys.modules, "docs_page", made)
    # Of the small models of these pages, other threads only make waiting.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_runs(
    path: Path,
    module: types.ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "s3://my-bucket" in path.read_text():
        for name, value in request.getfixturevalue("my_bucket").items():
            monkeypatch.setenv(name, value)
    page = Page(path, module)
    blocks = BLOCK.findall(path.read_text())
    assert len(blocks) == path.read_text().count("\n```") / 2
    for language, title, code in blocks:
        page.run(language, title, code)


def commands_of(configured: object) -> Iterator[str]:
    """Yield the commands of holdfast in the configuration of a CI."""
    if isinstance(configured, str) and configured.startswith("holdfast "):
        yield configured
    elif isinstance(configured, dict | list):
        inner = configured.values() if isinstance(configured, dict) else configured
        for value in inner:
            yield from commands_of(value)


def targets(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            yield target


@pytest.mark.parametrize("page", dict.fromkeys(LINKED), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = [target for target in targets(page) if not (page.parent / target).exists()]
    assert missing == []


def test_every_test_that_a_page_names_is_there() -> None:
    named = re.compile(r"(tests/[\w/]+\w(?:\.\w+)?)(?:::(\w+))?")
    found = [(p, *names) for p in dict.fromkeys(LINKED) for names in named.findall(p.read_text())]
    assert found
    for page, name, function in found:
        assert (ROOT / name).exists(), f"{page.name} names {name}"
        if function:
            assert f"def {function}(" in (ROOT / name).read_text(), f"{page.name}: {function}"
