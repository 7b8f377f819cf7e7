"""The site of the documentation: does it have every page, and would its build notice what is wrong.

``make docs`` builds it, which takes longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml

import holdfast
from holdfast.cli.app import app_for
from website import check, commands, markdown, pages

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def named(navigation: object) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        for inner in navigation.values():
            yield from named(inner)
    elif isinstance(navigation, list):
        for inner in navigation:
            yield from named(inner)


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gathered") / "docs"
    assert pages.gather(ROOT, folder) == []
    return folder


def test_the_navigation_names_every_page(gathered: Path) -> None:
    there = {path.relative_to(gathered).as_posix() for path in gathered.rglob("*.md")}
    # These are reached by lists of their own.
    listed = {page for page in there if re.match(r"adr/\d|examples/(?!index)", page)}
    in_navigation = list(named(CONFIG["nav"]))
    assert sorted(in_navigation) == sorted(there - listed), "mkdocs.yml, nav: one line for a page"


def test_every_decision_and_example_is_in_its_list(gathered: Path) -> None:
    decisions = (gathered / "adr/README.md").read_text()
    examples = (gathered / "examples/index.md").read_text()
    assert all(f"({path.name})" in decisions for path in gathered.glob("adr/0*.md"))
    assert all(f"{path.name}](" in examples for path in (ROOT / "examples").glob("*.py"))


def test_the_build_is_strict_and_asks_nobody_else() -> None:
    assert CONFIG["strict"] is True
    assert set(CONFIG["validation"]["links"].values()) == {"warn"}
    assert CONFIG["theme"]["font"] is False
    assert (CONFIG["docs_dir"], CONFIG["site_dir"]) == ("build/docs", "site")


def test_every_public_name_has_a_place_in_the_reference() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    shown = set(re.findall(r"^(?:::: | +heading: )holdfast\.([\w.]+)$", text, re.MULTILINE))
    drop_ins = set(holdfast._INTEGRATIONS)
    assert {*holdfast.__all__, *drop_ins} - {"__version__"} <= shown


def test_every_command_and_option_is_on_its_page() -> None:
    app = typer.main.get_command(app_for([]))
    page = commands.page()
    for name, command in app.commands.items():  # type: ignore[attr-defined]
        section = page.partition(f"\n## holdfast {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for inner in getattr(command, "commands", {}).values():
            assert f"\n### holdfast {name} {inner.name}\n" in section
        for option in (option for param in command.params for option in param.opts):
            assert option == "--help" or not option.startswith("-") or f"`{option}" in section


def test_examples_of_commands_are_shown_as_they_are_typed() -> None:
    assert "```text\nholdfast --store ckpts log gpt2-small\n```" in commands.page()
    assert "\\[" not in commands.page()


@pytest.mark.parametrize(
    ("link", "site", "there"),
    [
        ("(../../examples/pytorch.py)", "guides/a.md", "(../examples/pytorch.md)"),
        ("(../../examples)", "guides/a.md", "(../examples/index.md)"),
        ("(../SECURITY.md#how)", "threat-model.md", "(project/security.md#how)"),
        ("(docs/faults.md)", "project/contributing.md", "(../faults.md)"),
        ("(https://example.org/a.md)", "guides/a.md", "(https://example.org/a.md)"),
        ("(#here)", "guides/a.md", "(#here)"),
    ],
)
def test_links_that_lead_out_of_the_folder(link: str, site: str, there: str) -> None:
    assert pages.relinked(f"see [it]{link}.", site) == (f"see [it]{there}.", [])


def test_what_is_not_on_the_site_is_told() -> None:
    _, problems = pages.relinked("[the code](../src/holdfast/errors.py)", "faq.md")
    assert problems == ["docs/faq.md links to src/holdfast/errors.py, which is not on the site"]


def test_code_is_left_alone() -> None:
    code = "```python\nf[0](x)\ntext\n- 1\n```"
    assert pages.relinked(code, "faq.md") == (code, [])
    assert markdown.outside_code(f"a\n{code}\n", markdown.with_gaps) == f"a\n{code}\n"


def test_docstrings_become_markdown() -> None:
    text = markdown.of_docstring("Add::\n\n    1 + 1\n\n>>> 1 + 1\n2\n\nMore.")
    assert text == "Add:\n\n    1 + 1\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."


def test_what_is_wrong_with_a_built_page_is_told(tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text('<h1 id="top">Good</h1><a href="bad.html">bad</a>')
    (tmp_path / "bad.html").write_text(
        '<a href="good.html#top">there</a><a href="good.html#nowhere">not there</a>'
        '<a href="gone.html">gone</a><img src="gone.svg">'
        '<a href="https://example.org">asked for by people</a>'
        '<script src="https://example.org/a.js"></script>'
    )
    (tmp_path / "style.css").write_text("@import url(//example.org/a.css);")
    assert check.problems_of(tmp_path) == [
        "bad.html: good.html#nowhere leads to no such place in its page",
        "bad.html: gone.html leads nowhere",
        "bad.html: gone.svg leads nowhere",
        "bad.html: loads https://example.org/a.js",
        "style.css: loads //example.org/a.css",
    ]


def test_a_site_without_pages_is_no_good_site(tmp_path: Path) -> None:
    assert check.problems_of(tmp_path) != []
