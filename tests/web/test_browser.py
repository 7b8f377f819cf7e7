"""The pages in a real browser: they load, agree with the store, and can be used by everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

import holdfast
from holdfast import Checkpointer, every
from unit.history.big_store import make_big_store
from web.chromium import RULES
from web.serving import Served, served
from web.training import HOSTILE

PATHS = {
    "runs": "/",
    "run": "/run?run=base",
    "hostile run": "/run?run=" + quote(HOSTILE),
    "together": "/together?run=base&run=fork&run=" + quote(HOSTILE),
    "checkpoint": "/checkpoint?ref=base@200",
    "diff": "/diff?a=base@180&b=base@200",
    "layers": "/layers?run=base",
    "report": "/report?run=base",
    "storage": "/storage",
    "plan": "/storage?run=base&keep=last:3",
    "verify": "/verify?ref=base@200",
    "error": "/run?run=absent",
}


@contextmanager
def page_of(browser: Browser, site: Served, **context: object) -> Iterator[Page]:
    """A page that fails the test of whatever goes wrong in it, or goes elsewhere."""
    troubles: list[str] = []
    opened = browser.new_context(base_url=site.origin, **context)  # type: ignore[arg-type]
    page = opened.new_page()
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((site.origin, "data:")) or troubles.append(request.url)
        ),
    )
    yield page
    opened.close()
    # That a page is not there is what one of them is about, and the browser says so, too.
    assert [trouble for trouble in troubles if "404 (Not Found)" not in trouble] == []


def settle(page: Page) -> None:
    """Wait until what takes long is done, and charts are there, where the page has any."""
    page.wait_for_load_state("load")
    expect(page.locator("progress")).to_have_count(0, timeout=60_000)
    if page.locator("#charts").count():
        page.wait_for_selector("#charts canvas, #charts .empty")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PATHS)
def test_pages_are_for_everybody(browser: Browser, site: Served, name: str, theme: str) -> None:
    with page_of(browser, site, color_scheme=theme) as page:
        answer = page.goto(PATHS[name])
        assert answer is not None and answer.status == (404 if name == "error" else 200)
        settle(page)
        found = Axe().run(page, options=RULES)
        assert found.response["violations"] == [], found.generate_report()


@pytest.mark.parametrize("name", PATHS)
def test_pages_are_light_and_fit_a_small_screen(browser: Browser, site: Served, name: str) -> None:
    sizes: list[int] = []
    with page_of(browser, site, viewport={"width": 360, "height": 640}) as page:
        page.on("response", lambda answer: sizes.append(len(answer.body())))
        page.goto(PATHS[name])
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert 1_000 < sum(sizes) < 1_000_000


def test_the_runs_are_those_of_the_store(browser: Browser, site: Served) -> None:
    store = holdfast.Store(site.store)
    with page_of(browser, site) as page:
        page.goto("/")
        rows = page.locator("#runs tbody tr")
        shown = {row.locator("th a").inner_text(): row.inner_text() for row in rows.all()}
        assert set(shown) == set(store.runs())
        assert "from base@200" in shown["fork"]
        for run in store.runs():
            assert f"@{store.log(run)[-1].step}" in shown[run]
        assert page.title() == "Runs · holdfast"


def test_from_the_runs_to_a_difference(browser: Browser, site: Served) -> None:
    with page_of(browser, site) as page:
        page.goto("/")
        page.get_by_role("link", name="base", exact=True).click()
        expect(page.locator("#findings")).to_contain_text("overfitting")
        canvas = page.locator("#charts canvas").first
        assert "loss and val_loss" in (canvas.get_attribute("aria-label") or "")
        page.get_by_label("Compare from base@180").check()
        page.get_by_label("Compare to base@200").check()
        page.get_by_role("button", name="Compare A with B").click()
        expect(page.locator("h1")).to_have_text("base@180 → base@200")
        diff = holdfast.Store(site.store).diff("base@180", "base@200")
        changed = sum(tensor.is_changed for tensor in diff.tensors)
        expect(page.locator(".lead")).to_contain_text(f"{changed} of {len(diff.tensors)} tensors")
        still = page.locator(".heat tr", has_text="model/layers.0.attn").locator("td").first
        assert "h0" in (still.get_attribute("class") or "")
        page.get_by_role("link", name="base@200").click()
        expect(page.locator("h1")).to_contain_text("base@200")


def test_runs_are_chosen_and_shown_together(browser: Browser, site: Served) -> None:
    with page_of(browser, site) as page:
        page.goto("/")
        for run in ("base", "fork"):
            page.get_by_label(f"Show {run} together with others", exact=True).check()
        page.get_by_role("button", name="Show chosen runs together").click()
        expect(page.locator("h1")).to_have_text("2 runs together")
        settle(page)
        canvas = page.locator("#charts canvas")
        names = [c.get_attribute("aria-label") or "" for c in canvas.all()]
        assert [name.split(" over ")[0] for name in names] == [
            f"Chart of {metric}" for metric in ("loss", "val_loss", "lr")
        ]
        best = {
            run: min(holdfast.Store(site.store).curves(run)["val_loss"].values)
            for run in ("base", "fork")
        }
        assert f"of {min(best, key=best.get)}" in names[1]
        rate = page.locator("#apart tr", has=page.get_by_role("rowheader", name="lr", exact=True))
        assert rate.locator("td").all_inner_texts() == ["0.05", "0.02"]
        assert "model.width" not in page.locator("#apart").inner_text()


def test_leaves_are_filtered(browser: Browser, site: Served) -> None:
    leaves = holdfast.Store(site.store).leaves("base@200")
    wanted = [leaf.path for leaf in leaves if "attn" in leaf.path]
    with page_of(browser, site) as page:
        page.goto("/checkpoint?ref=base@200")
        assert page.locator("section tbody tr").count() == len(leaves)
        page.keyboard.press("/")
        page.keyboard.type("attn")
        page.keyboard.press("Enter")
        page.wait_for_url("**filter=attn**")
        assert page.locator("section tbody th").all_inner_texts() == wanted


def test_a_hostile_name_stays_a_name(browser: Browser, site: Served) -> None:
    with page_of(browser, site) as page:
        page.goto("/run?run=" + quote(HOSTILE))
        settle(page)
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.title() == f"{HOSTILE} · holdfast"
        page.get_by_role("link", name="40", exact=True).first.click()
        assert page.locator("h1").inner_text().startswith(f"{HOSTILE}@40")


def test_keys_and_themes(browser: Browser, site: Served) -> None:
    theme: Callable[[], str] = lambda: page.evaluate("document.documentElement.dataset.theme")  # noqa: E731
    with page_of(browser, site, color_scheme="dark") as page:
        page.goto("/run?run=base")
        assert theme() == "dark"
        page.keyboard.press("t")
        assert theme() == "light"
        page.keyboard.press("g")
        page.keyboard.press("s")
        page.wait_for_url("**/storage")
        assert theme() == "light"
        page.get_by_role("button", name="Theme: light").click()
        assert theme() == "dark"


def test_the_skip_link_is_the_first_stop(browser: Browser, site: Served) -> None:
    with page_of(browser, site) as page:
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_what_is_trained_meanwhile_comes_by_itself(browser: Browser, changing: Served) -> None:
    with page_of(browser, changing) as page:
        page.goto("/run?run=base")
        settle(page)
        expect(page.locator("#live")).to_have_text("live")
        with Checkpointer(changing.store, {"w": 1}, run="base", save=every(steps=1)) as ckpt:
            ckpt.step(1000, metrics={"loss": 0.125})
        expect(page.locator("#checkpoints")).to_contain_text("1000", timeout=30_000)
        expect(page.locator("#figures")).to_contain_text("@1000")


def test_the_report_counts_a_life_that_begins_meanwhile(browser: Browser, changing: Served) -> None:
    n = holdfast.Store(changing.store).report("base").n_processes
    with page_of(browser, changing) as page:
        page.goto("/report?run=base")
        expect(page.locator("#report .lead")).to_contain_text(f"{n} process")
        expect(page.locator("#live")).to_have_text("live")
        with Checkpointer(changing.store, {"w": 1}, run="base", save=every(steps=1)) as ckpt:
            ckpt.step(1000)
        expect(page.locator("#report .lead")).to_contain_text(f"{n + 1} process", timeout=30_000)


def test_the_page_of_a_checkpoint_follows_what_happens_to_it(
    browser: Browser, changing: Served
) -> None:
    store = holdfast.Store(changing.store)
    with page_of(browser, changing) as page, page_of(browser, changing) as moving:
        page.goto("/checkpoint?ref=base@280")
        moving.goto("/checkpoint?ref=base@latest")
        for each in (page, moving):
            expect(each.locator("#live")).to_have_text("live")
        store.tag("base@280", "given_meanwhile")
        expect(page.locator("h1")).to_contain_text("given_meanwhile", timeout=30_000)
        with Checkpointer(changing.store, {"w": 1}, run="base", save=every(steps=1)) as ckpt:
            ckpt.step(1000)
        expect(page.locator("#about nav")).to_contain_text("base@1000 →", timeout=30_000)
        expect(moving.locator("h1")).to_contain_text("base@1000", timeout=30_000)
        store.untag("base", "given_meanwhile")
        store.remove("base@280")
        expect(page.locator("#live")).to_have_text("no longer there", timeout=30_000)


def test_layers_say_that_there_is_something_newer(browser: Browser, changing: Served) -> None:
    with page_of(browser, changing) as page:
        page.goto("/layers?run=base&columns=60")
        expect(page.locator("#live")).to_have_text("live")
        columns = page.locator(".heat thead th").count()
        state = holdfast.load(changing.store, "base@latest")
        holdfast.save(changing.store, state, run="base", step=1000)
        page.get_by_role("link", name="there is something newer").click(timeout=30_000)
        expect(page.locator(".heat thead th")).to_have_count(columns + 1)


def test_a_tag_is_given_and_a_plan_carried_out(browser: Browser, changing: Served) -> None:
    store = holdfast.Store(changing.store)
    with page_of(browser, changing) as page:
        page.goto("/checkpoint?ref=base@100")
        page.get_by_label("Tag").fill("from_the_page")
        page.get_by_role("button", name="Give").click()
        expect(page.locator("h1")).to_contain_text("from_the_page")
        assert store.info("base@from_the_page").step == 100
        page.goto("/storage?run=base")
        page.get_by_label("Keep").fill("last:2")
        page.get_by_role("button", name="Try").click()
        expect(page.locator("#plan .lead")).to_contain_text("10 checkpoints would go")
        assert len(store.log("base")) == 14
        page.get_by_role("button", name="Remove 10 checkpoints for good").click()
        expect(page.locator("#plan .lead")).to_contain_text("0 checkpoints would go")
    assert [info.step for info in store.log("base")] == [100, 200, 260, 280]


def test_while_it_is_looked_at_the_page_says_how_far(browser: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for step in (1, 2):
        weights = {f"w{i}": rng.standard_normal(1 << 21) for i in range(12)}
        holdfast.save(tmp_path / "ckpts", weights, run="large", step=step)
    with served(tmp_path / "ckpts") as site, page_of(browser, site) as page:
        page.goto("/diff?a=large@1&b=large@2")
        expect(page.locator("#working progress")).to_have_count(1)
        found = Axe().run(page, options=RULES)
        assert found.response["violations"] == [], found.generate_report()
        expect(page.locator(".lead")).to_contain_text("12 of 12 tensors", timeout=60_000)


def test_damage_is_found_from_the_page(browser: Browser, changing: Served) -> None:
    info = holdfast.Store(changing.store).info("base@200")
    pack = next(Path(changing.store, "runs", "base", "packs").glob(f"{info.id}-*"))
    with page_of(browser, changing) as page:
        page.goto("/checkpoint?ref=base@200")
        page.get_by_role("link", name="Check every byte").click()
        expect(page.locator("main")).to_contain_text("Good.")
        data = bytearray(pack.read_bytes())
        data[3] ^= 1
        pack.write_bytes(data)
        page.get_by_role("link", name="Check again").click()
        expect(page.locator(".alert").first).to_contain_text("base@200")


def test_damage_has_its_pages_and_hides_nothing_else(browser: Browser, tmp_path: Path) -> None:
    folder, rng = tmp_path / "ckpts", np.random.default_rng(0)
    for step in range(1, 5):
        holdfast.save(
            folder, {"w": rng.standard_normal(99)}, run="Hurt", step=step, metrics={"loss": step}
        )
    infos = holdfast.Store(folder).log("Hurt")
    pack = next((folder / "runs/Hurt/packs").glob(f"{infos[1].id}-*"))
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.write_bytes(data)
    part = next((folder / "runs/Hurt/parts").glob(f"{infos[2].id}-*"))
    part.write_bytes(part.read_bytes()[:20])
    with served(folder) as site, page_of(browser, site) as page:
        page.goto("/checkpoint?ref=Hurt@3")
        expect(page.locator(".alert")).to_contain_text("the manifest of Hurt@3")
        expect(page.locator("dl.facts").first).to_contain_text("loss")
        page.get_by_role("link", name="← Hurt@2").click()
        page.get_by_role("link", name="Check every byte").click()
        assert page.locator(".alert").inner_text().startswith("Hurt@2")
        page.goto("/diff?a=Hurt@2&b=Hurt@4")
        expect(page.locator(".alert")).to_contain_text("Hurt@2")
        page.goto("/layers?run=Hurt")
        settle(page)
        expect(page.locator(".alert")).to_have_count(2)
        assert page.locator(".heat thead th").all_inner_texts() == ["Layer", "4"]
    for commit in (folder / "runs/Hurt/commits").iterdir():
        commit.write_bytes(b"none")
    with served(folder) as site, page_of(browser, site) as page:
        page.goto("/run?run=Hurt")
        expect(page.locator("#checkpoints .empty")).to_contain_text("none can be read")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Lists of several pages: 130 checkpoints of a run, 1,000 leaves of one, 107 runs."""
    folder = tmp_path_factory.mktemp("long") / "ckpts"
    make_big_store(folder, n_runs=1, n_checkpoints=130)
    leaves = {f"layer.{i:04}.weight": np.full(2, i, np.float32) for i in range(1000)}
    holdfast.save(folder, {"model": leaves}, run="wide", step=1)
    for i in range(105):
        holdfast.save(folder, {"w": i}, run=f"r{i:03}", step=1)
    with served(folder) as found:
        yield found


def test_a_long_list_has_only_the_rows_in_sight_and_all_of_them(
    browser: Browser, long: Served
) -> None:
    with page_of(browser, long) as page:
        page.goto("/checkpoint?ref=wide@1")
        region = page.locator('[data-list="leaves"]')
        rows = region.locator("tbody tr:not(.gap)")
        pager = page.locator(".pager")
        total = int(region.get_attribute("data-total") or 0)
        assert total > 1000 and rows.count() <= 600
        seen, height = (
            set(rows.locator("th").all_inner_texts()),
            region.evaluate("e => e.clientHeight"),
        )
        for _ in range(400):
            if region.evaluate("e => e.scrollTop + e.clientHeight >= e.scrollHeight - 1"):
                break
            region.evaluate("(e, by) => e.scrollBy(0, by)", height * 2)
            expect(region).not_to_have_attribute("aria-busy", "true")
            seen |= set(rows.locator("th").all_inner_texts())
            assert rows.count() <= 1000
        expect(pager).to_contain_text(f"{total:,} of {total:,} leaves")
        wanted = {leaf.path for leaf in holdfast.Store(long.store).leaves("wide@1")}
        assert seen == wanted
        found = Axe().run(page, options=RULES)
        assert found.response["violations"] == [], found.generate_report()


def test_checkpoints_far_apart_are_compared(browser: Browser, long: Served) -> None:
    with page_of(browser, long) as page:
        page.goto("/run?run=run-0")
        page.get_by_label("Compare to run-0@1290").check()
        region = page.locator('[data-list="checkpoints"]')
        region.focus()
        page.keyboard.press("End")
        page.get_by_label("Compare from run-0@20", exact=True).check()
        page.get_by_role("button", name="Compare A with B").click()
        expect(page.locator("h1")).to_have_text("run-0@20 → run-0@1290")


def test_what_was_chosen_stays_chosen(browser: Browser, changing: Served) -> None:
    """Also when the list comes anew meanwhile; what nobody chose follows the newest."""
    with page_of(browser, changing) as page:
        page.goto("/run?run=base")
        settle(page)
        expect(page.locator("#live")).to_have_text("live")
        page.get_by_label("Compare from base@180").check()
        page.get_by_label("Compare from base@180").blur()
        with Checkpointer(changing.store, {"w": 1}, run="base", save=every(steps=1)) as ckpt:
            ckpt.step(1000, metrics={"loss": 0.125})
        expect(page.get_by_label("Compare to base@1000")).to_be_checked(timeout=30_000)
        expect(page.get_by_label("Compare from base@180")).to_be_checked()


def test_an_address_of_a_page_begins_there(browser: Browser, long: Served) -> None:
    with page_of(browser, long) as page:
        page.goto("/run?run=run-0&page=2")
        expect(page.get_by_role("link", name="800", exact=True)).to_be_in_viewport()
    with page_of(browser, long, java_script_enabled=False) as page:
        page.goto("/")
        page.get_by_role("link", name="Next").click()
        expect(page.locator("#runs")).to_contain_text("101–107 of 107 runs")
        assert page.locator("#runs tbody tr").count() == 7


def test_axes_have_whole_steps_and_no_frame_is_empty(browser: Browser, tmp_path: Path) -> None:
    for step in range(3):
        holdfast.save(
            tmp_path / "ckpts",
            {"w": 1},
            run="short",
            step=step,
            metrics={"loss": 1.0 / (step + 1), "broken": float("nan")},
        )
    with served(tmp_path / "ckpts") as site, page_of(browser, site) as page:
        page.add_init_script(
            "window.drawn = []; const fill = CanvasRenderingContext2D.prototype.fillText;"
            "CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {"
            " window.drawn.push(String(text)); return fill.call(this, text, ...at); }"
        )
        page.goto("/run?run=short")
        settle(page)
        expect(page.locator("#charts .chart", has_text="broken")).to_contain_text("No finite value")
        steps = page.evaluate("window.drawn")
        assert {"0", "1", "2"} <= set(steps) and not {"0.1", "0.25", "1.5"} & set(steps[:6])


def test_a_long_name_takes_no_room_from_others(browser: Browser, tmp_path: Path) -> None:
    for run in ("lower-lr-again", "x" * 180):
        holdfast.save(tmp_path / "ckpts", {"w": 1}, run=run, step=1, metrics={"loss": 1.0})
    size = {"width": 360, "height": 640}
    with served(tmp_path / "ckpts") as site, page_of(browser, site, viewport=size) as page:
        for path in ("/", "/storage"):
            page.goto(path)
            name = page.get_by_role("link", name="lower-lr-again", exact=True)
            box = name.bounding_box()
            assert box is not None and box["height"] < 60
