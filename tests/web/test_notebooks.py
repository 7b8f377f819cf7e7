"""What notebooks show, in a browser on light and dark grounds, and from a notebook that ran."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

import holdfast
from absent import needs_package
from holdfast.history.verify import CheckpointCheck, VerifyReport
from web.chromium import RULES
from web.training import HOSTILE

# A notebook's own style for tables, which must not win.
_HOST = """
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Notebook</title><style>
body{background:%s;color:%s} .out table{margin:auto} .out td,.out th{text-align:right}
.out tbody tr:nth-child(odd){background:%s}
</style></head><body><main><h1>Output</h1>%s</main></body></html>
"""
_GROUNDS = {"light": ("#fff", "#222", "#f5f5f5"), "dark": ("#111", "#e0e0e0", "#1b1b1b")}
_CELLS = """
import holdfast
store = holdfast.Store({path!r})
store
---
store.history("base")
---
store.info("base@latest")
---
store.diff("base@180", "base@200")
"""


def shown_of(folder: Path) -> str:
    store = holdfast.Store(folder)
    bad = CheckpointCheck("base@1", False, (f"chunk of {HOSTILE} is damaged",))
    objects = [
        store,
        store.history("base"),
        store.history(HOSTILE),
        store.info("base@before_drop"),
        store.diff("base@180", "base@200"),
        store.report("base"),
        VerifyReport([bad, CheckpointCheck("base@2", True)], ("trouble",), 5),
    ]
    return "".join(f'<div class="out">{shown._repr_html_()}</div>' for shown in objects)


@pytest.mark.parametrize("ground", _GROUNDS)
def test_cards_are_readable_on_any_ground(browser: Browser, store: Path, ground: str) -> None:
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 900, "height": 600})
    page.on("request", lambda request: requests.append(request.url))
    page.set_content(_HOST % (*_GROUNDS[ground], shown_of(store)))
    for summary in page.locator("summary").all():
        summary.click()
    found = Axe().run(page, options=RULES)
    assert found.response["violations"] == [], found.generate_report()
    assert page.title() == "Notebook", "no script of a name ran"
    assert requests == []
    assert page.locator(".out script").count() == 0
    page.close()


def test_cards_fit_a_narrow_window(browser: Browser, store: Path) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 600})
    page.set_content(_HOST % (*_GROUNDS["light"], shown_of(store)))
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()


def test_a_notebook_that_ran_has_them(store: Path) -> None:
    needs_package("nbclient")
    needs_package("ipykernel")
    import nbformat
    from nbclient import NotebookClient

    cells = _CELLS.format(path=str(store)).split("---\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [cell.outputs[-1].data["text/html"] for cell in notebook.cells]
    assert all('<div class="holdfast-card">' in html for html in outputs)
    for html, text in zip(
        outputs, ("Store ", "Run base", "base@", "base@180 → base@200"), strict=True
    ):
        assert text in html
