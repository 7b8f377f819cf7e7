"""What the files beside the package say of it: they agree with it, and with one another."""

from __future__ import annotations

import re
import tomllib

from installing import ROOT

import holdfast

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version_and_licence() -> None:
    said = dict(re.findall(r"^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text(), re.M))
    assert said["version"] == holdfast.__version__
    assert said["license"] == PROJECT["license"].partition(" AND ")[0]
    assert said["title"] == PROJECT["name"]


def test_every_licence_of_what_is_carried_along_is_named() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*LICENSE*")}
    assert found
    assert set(PROJECT["license-files"]) == {"LICENSE", *found}


def test_the_changes_of_this_version_are_told() -> None:
    headings = re.findall(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    version, when = headings[0]
    assert version == holdfast.__version__
    assert when == "unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", when)


def test_every_extra_that_users_are_told_to_install_is_there() -> None:
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*")]
    texts += (ROOT / "src").rglob("*.py")
    named = {
        extra
        for path in texts
        if path.is_file()
        for found in re.findall(r"holdfast\[([a-z, -]+)\]", path.read_text())
        for extra in re.split(r", *", found)
    }
    assert {"torch", "remote", "encryption"} <= named
    assert named <= set(PROJECT["optional-dependencies"])
