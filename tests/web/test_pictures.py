"""The pictures of pages that the documentation shows: made here, and still what the pages show."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from web.serving import Served, served
from web.test_browser import page_of, settle
from web.training import make_friendly_store

FOLDER = Path(__file__).parents[2] / "docs/assets/pages"
PICTURES = {
    "runs-light": "/",
    "run-light": "/run?run=base",
    "run-dark": "/run?run=base",
    "together-light": "/together?run=base&run=fork",
    "comparison-light": "/diff?a=base@180&b=base@200",
    "storage-light": "/storage?run=base&keep=last:3",
}
WIDTH, HEIGHT = 1120, 720
# Of grey levels, a page divided into squares of 16 points: fonts differ, and what lies where not.
_SQUARE, _ALIKE = 16, 12.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(make_friendly_store(tmp_path_factory.mktemp("pictures") / "ckpts")) as found:
        yield found


@pytest.mark.parametrize("name", PICTURES)
def test_the_documentation_shows_the_pages_as_they_are(
    browser: Browser, site: Served, name: str
) -> None:
    theme = name.rpartition("-")[2]
    size = {"width": WIDTH, "height": HEIGHT}
    with page_of(browser, site, viewport=size, color_scheme=theme) as page:
        page.goto(PICTURES[name])
        settle(page)
        page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        # Where the store happens to be is nobody's business.
        page.evaluate("document.querySelector('.where').textContent = 'ckpts'")
        now = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    kept = FOLDER / f"{name}.png"
    if os.environ.get("HOLDFAST_PICTURES") == "write":
        FOLDER.mkdir(parents=True, exist_ok=True)
        now.quantize(64, dither=Image.Dither.NONE).save(kept, optimize=True)
    assert kept.stat().st_size < 150_000
    differs = np.abs(_squares(now) - _squares(Image.open(kept))).mean()
    assert differs < _ALIKE, f"{kept} is not what the page shows any more: make pictures"


def _squares(picture: Image.Image) -> np.ndarray:
    assert picture.size == (WIDTH, HEIGHT)
    small = picture.convert("L").resize((WIDTH // _SQUARE, HEIGHT // _SQUARE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)
