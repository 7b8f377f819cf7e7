"""How long first views take in Chromium, and what they weigh: ``make pages``.

The store has ten thousand checkpoints in ten runs, and one checkpoint of a hundred thousand leaves.
Times are the smallest of several, from the click to the last thing that the page asks for.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright
from test_browser import ARGUMENTS

import holdfast

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "history"))
from big_store import make_big_store

COMMAND = str(Path(sysconfig.get_path("scripts")) / "holdfast")
ROUNDS = 5
MANY_RUNS = {"runs": "/", "run of 1,000": "/run?run=run-5", "storage": "/storage"}
LONG_RUN = {
    "runs": "/",
    "run of 10,000": "/run?run=run-0",
    "its 100th page": "/run?run=run-0&page=100",
    "checkpoint": "/checkpoint?ref=run-0@latest",
    "100,000 leaves": "/checkpoint?ref=wide@1",
    "filtered": "/checkpoint?ref=wide@1&filter=999",
}
WANTED_S, WANTED_BYTES = 1.5, 1_000_000


def view(page: Page, address: str) -> tuple[float, int]:
    """Return the seconds until a page is usable, and the bytes of all that came."""
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(len(answer.body())))
    begin = time.perf_counter()
    page.goto(address, wait_until="load")
    if page.locator("#charts").count():
        page.wait_for_selector("#charts canvas, #charts .empty")
    return time.perf_counter() - begin, sum(sizes)


def measure(store: Path, paths: dict[str, str]) -> int:
    """Print how long pages of a store take; return how many take too long."""
    missed = 0
    begin = time.perf_counter()
    command = [COMMAND, "--store", str(store), "ui"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().strip().rstrip("/")
    print(f"{store.name}: started in {time.perf_counter() - begin:.2f} s")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        browser.new_page().goto("about:blank")
        for what, path in paths.items():
            views = [view(browser.new_page(), address + path) for _ in range(ROUNDS)]
            (first_s, nbytes), best_s = views[0], min(s for s, _ in views)
            is_missed = first_s > WANTED_S or nbytes > WANTED_BYTES
            missed += is_missed
            print(
                f"  {what:16} {first_s:5.2f} s at first, {best_s:5.2f} s then, "
                f"{nbytes / 1000:4.0f} kB{'  MISSED' if is_missed else ''}"
            )
        browser.close()
    server.terminate()
    server.wait()
    return missed


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="holdfast-pages-") as name:
        many, long = Path(name, "ten-runs"), Path(name, "one-run")
        make_big_store(many, n_runs=10, n_checkpoints=1000)
        make_big_store(long, n_runs=1, n_checkpoints=10_000)
        leaves = {f"layers.{i}.weight": np.zeros(2, np.float32) for i in range(100_000)}
        holdfast.save(long, {"model": leaves}, run="wide", step=1)
        for store in (many, long):
            holdfast.Store(store).doctor()  # Makes the catalog, as saves do.
        missed = measure(many, MANY_RUNS) + measure(long, LONG_RUN)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
