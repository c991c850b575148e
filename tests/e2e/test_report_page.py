"""The report of a real run, in a real browser."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from command import Run
from playwright.sync_api import Browser, Page, sync_playwright

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PARTS = ("funnel", "dropped", "dependencies", "duplicates", "tokens", "training", "evaluation", "provenance")


@dataclass
class Opened:
    """A page, what its console said and what it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        yield browser
        browser.close()


def opened(browser: Browser, run: Run, width: int, scheme: str) -> Opened:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    result = Opened(context.new_page())
    result.page.on("console", lambda message: result.errors.append(message.text))
    result.page.on("pageerror", lambda error: result.errors.append(str(error)))
    result.page.on("request", lambda request: result.requests.append(request.url))
    result.page.goto(Path(run.result.json["report"]).as_uri())
    return result


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_page_fits_every_screen_without_an_error_or_a_request(
    browser: Browser, small_run: Run, width: int, scheme: str
) -> None:
    result = opened(browser, small_run, width, scheme)
    assert result.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert result.errors == []
    assert result.requests == [Path(small_run.result.json["report"]).as_uri()]


def test_a_table_wider_than_the_screen_says_so_until_its_end(browser: Browser, small_run: Run) -> None:
    page = opened(browser, small_run, 360, "light").page
    boxes = page.locator(".scroll").all()
    wide = [box for box in boxes if box.evaluate("box => box.scrollWidth > box.clientWidth + 1")]
    assert len(wide) > 3
    assert [box for box in boxes if "wider" in (box.get_attribute("class") or "").split()] == wide
    for box in wide:
        box.scroll_into_view_if_needed()
        assert "sideways" in box.evaluate("box => getComputedStyle(box, '::before').content")
        assert box.evaluate("box => getComputedStyle(box).maskImage").endswith("rgba(0, 0, 0, 0))")
        box.focus()
        assert box.evaluate("box => box === document.activeElement")
        box.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
        page.wait_for_function("box => !box.classList.contains('more-after')", arg=box.element_handle())
        assert "more-before" in (box.get_attribute("class") or "")


def test_a_table_that_fits_says_nothing(browser: Browser, small_run: Run) -> None:
    page = opened(browser, small_run, 1440, "light").page
    for box in page.locator(".scroll:not(.wider)").all():
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth + 1")
        assert box.evaluate("box => getComputedStyle(box, '::before').content") == "none"
        assert box.get_attribute("tabindex") in (None, "0" if "canvas" in (box.get_attribute("class") or "") else None)


def test_every_part_of_a_whole_run_is_on_the_page_and_in_its_contents(browser: Browser, small_run: Run) -> None:
    page = opened(browser, small_run, 1440, "light").page
    for part in PARTS:
        assert page.locator(f"section#{part} h2").inner_text()
        assert page.locator(f'nav a[href="#{part}"]').is_visible()


def test_the_digest_on_the_page_is_the_run_s(browser: Browser, small_run: Run) -> None:
    page = opened(browser, small_run, 1440, "light").page
    assert page.locator(".digest").inner_text() == small_run.result.json["digest"]


def test_pointing_at_a_file_lights_up_what_it_imports(browser: Browser, small_run: Run) -> None:
    page = opened(browser, small_run, 1440, "light").page
    importer = page.locator(".edge").first.get_attribute("data-from")
    imported = {edge.get_attribute("data-to") for edge in page.locator(f'.edge[data-from="{importer}"]').all()}
    page.locator(f'.graph [data-file="{importer}"]').hover()
    lit = {file.get_attribute("data-file") for file in page.locator(".graph .imported").all()}
    assert lit == imported
    assert page.locator(f'.order [data-file="{importer}"].chosen').count() == 1


def test_the_graph_can_be_walked_with_the_keyboard(browser: Browser, small_run: Run) -> None:
    page = opened(browser, small_run, 1440, "light").page
    page.locator('.graph [data-file="0"]').focus()
    assert page.locator(".graph .chosen").get_attribute("data-file") == "0"


def test_the_page_is_small(small_run: Run) -> None:
    assert Path(small_run.result.json["report"]).stat().st_size < 2_000_000
