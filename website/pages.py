"""The pages of the site: those in ``docs/``, and those made of other files and the code."""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path

from website import commands, examples
from website.markdown import outside_code, with_gaps

# Where it is in the repository -> where it is on the site.
PROJECT = {
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
_FOLDERS = {"examples": "examples/index.md", "docs/adr": "adr/README.md"}
# Of README this part alone: what else it says has pages of its own.
_MEASURED = {"README.md": "benchmarks.md"}
_MEASURED_PART = re.compile(r"^## What it costs\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def gather(root: Path, into: Path) -> list[str]:
    """Put all pages into a folder, with links that fit there.

    Args:
        root: The repository.
        into: The folder; what is in it goes.

    Returns:
        Links that lead to nothing that is on the site.
    """
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(root / "docs", into)
    made = {site: (root / path).read_text() for path, site in PROJECT.items()}
    made |= {**examples.pages(root / "examples"), commands.PAGE: commands.page()}
    made |= {site: _measured((root / path).read_text()) for path, site in _MEASURED.items()}
    for site, text in made.items():
        (into / site).parent.mkdir(parents=True, exist_ok=True)
        (into / site).write_text(text)
    problems: list[str] = []
    for page in into.rglob("*.md"):
        text, problems_here = relinked(page.read_text(), page.relative_to(into).as_posix())
        page.write_text(outside_code(text, with_gaps))
        problems += problems_here
    return problems


def relinked(markdown: str, site: str) -> tuple[str, list[str]]:
    """Return a page with links to where their targets are on the site, and those that have none.

    Args:
        markdown: The page, as it is in the repository.
        site: Where it is on the site.
    """
    outside = {**PROJECT, **_MEASURED}
    here = next((path for path, at in outside.items() if at == site), f"docs/{site}")
    problems = []

    def replaced(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1]))
        there = _on_the_site(target)
        if there is None:
            problems.append(f"{here} links to {target}, which is not on the site")
            return link[0]
        return f"]({posixpath.relpath(there, posixpath.dirname(site) or '.')}{link[2] or ''})"

    return outside_code(markdown, lambda text: _LINK.sub(replaced, text)), problems


def _measured(readme: str) -> str:
    found = _MEASURED_PART.search(readme)
    assert found, "README has no longer a part '## What it costs'"
    return f"# Benchmarks\n\n{found[0]}"


def _on_the_site(target: str) -> str | None:
    made = {**PROJECT, **_FOLDERS, **_MEASURED}
    if target in made:
        return made[target]
    if target.startswith("examples/"):
        return target.removesuffix(".py") + ".md"
    return target.removeprefix("docs/") if target.startswith("docs/") else None
