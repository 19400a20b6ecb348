"""The report in a real browser: the viewer draws and obeys, nothing is asked of the network, and without it nothing is lost."""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from planted_report import CONFIG, planted, volumes, write_inputs

from brainldm.stages.report import main

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives a browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
SOFTWARE = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")  # WebGL without a GPU
LIMIT_BYTES = 25_000_000
WAIT_S = 120  # drawing without a GPU on a busy machine


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    main(**write_inputs(folder, planted(volumes())))  # type: ignore[arg-type]
    return folder / "report.html"


@pytest.fixture(scope="module")
def visit(report: Path) -> Iterator[Callable]:
    """visit(width_px, **settings) opens the report and shows the viewer; the page collects what was `said` and `asked`."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)

        def open_page(width: int, state: str = "ready", before: str = "", name: str = "report.html", **settings):
            page = browser.new_context(viewport={"width": width, "height": 900}, **settings).new_page()
            page.set_default_timeout(1000 * WAIT_S)
            page.said, page.asked = [], []
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.on("request", lambda request: page.asked.append(request.url))
            page.add_init_script(before)
            page.goto(report.with_name(name).as_uri())
            page.locator("#viewer").scroll_into_view_if_needed()
            if state:
                page.wait_for_selector(f"#viewer[data-state={state}]")
            return page

        yield open_page
        browser.close()


@pytest.fixture
def desktop(visit: Callable):
    return visit(1280)


@pytest.fixture
def phone(visit: Callable):
    return visit(390, is_mobile=True, has_touch=True, device_scale_factor=2)


def drawn(page) -> np.ndarray:
    """The canvas as the eye sees it, [rows, columns, 3] in [0, 1]."""
    return matplotlib.image.imread(io.BytesIO(page.locator("#viewer canvas").screenshot()))[..., :3]


def changed(page, before: np.ndarray) -> np.ndarray:
    """Wait until the canvas shows another picture than `before`, and return it."""
    limit = time.monotonic() + WAIT_S
    while np.abs((after := drawn(page)) - before).mean() <= 1e-4:
        assert time.monotonic() < limit, "the picture has not changed"
        page.wait_for_timeout(50)
    return after


def sound(page, report: Path) -> None:
    """Nothing fetched, every picture there, and nothing wider than the screen."""
    assert {url.split(":")[0] for url in page.asked} <= {"file", "data", "blob"}
    assert {url for url in page.asked if url.startswith("file:")} == {report.as_uri()}
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.images.length") > 60
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_the_viewer_draws_and_the_page_is_quiet(screen: str, report: Path, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(screen)
    picture = drawn(page)
    assert picture.std() > 0.1
    assert 0.1 < (picture.max(2) > 0.2).mean() < 0.8
    assert np.ptp(picture, axis=2).max() > 0.2  # labels have colours
    assert page.locator(".note", has_text="interactive viewer").is_hidden()
    sound(page, report)
    assert page.said == []
    assert report.stat().st_size < LIMIT_BYTES


@pytest.mark.parametrize(("screen", "across", "down"), [("desktop", 0.08, 0.5), ("phone", 0.12, 0.75)])  # in the axial plane
def test_left_is_the_subjects_left(screen: str, across: float, down: float, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(screen)
    box, stage = page.locator("#viewer canvas").bounding_box(), page.locator("#viewer .stage")
    where = {"x": box["width"] * across, "y": box["height"] * down}
    stage.tap(position=where) if screen == "phone" else stage.click(position=where)
    page.wait_for_function("Number(document.querySelector('[name=x]').value) < -20")
    page.wait_for_function("document.querySelector('#viewer .where').textContent.includes('left cerebral white matter')")


def test_every_slider_changes_the_picture_and_says_its_value(desktop) -> None:
    desktop.select_option("[name=volume]", label="Ventricles")
    desktop.wait_for_function("document.querySelector('#viewer .where').textContent.startsWith('Ventricles')")
    before = drawn(desktop)
    for name, value, says in (
        ("x", 20, None),
        ("y", 20, None),
        ("z", 40, None),
        ("step", 4, "5 of 5"),
        ("low", 0.4, "0.4"),
        ("high", 0.6, "0.6"),
        ("opacity", 0.9, "90 %"),
    ):
        slider = desktop.locator(f"[name={name}]")
        slider.evaluate("(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true })) }", value)
        after = changed(desktop, before)
        now = float(slider.input_value())
        assert now == pytest.approx(value, abs=CONFIG.grid.spacing_mm / 2)
        assert slider.locator("xpath=..").locator("output").text_content() == (says or f"{now:g} mm")
        before = after
    assert "Ventricles: asked 110 mL, measured 111 mL." in desktop.locator("#viewer .where").text_content()
    assert desktop.said == []


def test_the_public_page_draws_and_says_that_it_may_be_published(visit: Callable, report: Path) -> None:
    page = visit(1280, name="report-public.html")
    assert drawn(page).std() > 0.1
    assert page.locator(".banner.public").is_visible()
    assert page.locator("[name=volume] optgroup").evaluate_all("groups => groups.map(group => group.label)") == [
        "Synthetic volumes",
        "Ladders",
    ]
    assert {url for url in page.asked if url.startswith("file:")} == {report.with_name("report-public.html").as_uri()}
    assert page.said == []
    private = visit(390, "", is_mobile=True)
    assert private.locator(".banner.private").is_visible()
    assert private.locator(".banner.private").bounding_box()["y"] < 100


def test_without_webgl_or_javascript_the_pictures_remain(visit: Callable, report: Path) -> None:
    blind = visit(390, "absent", "HTMLCanvasElement.prototype.getContext = () => null")
    silent = visit(390, "", java_script_enabled=False)
    for page in (blind, silent):
        assert page.locator(".note", has_text="interactive viewer").is_visible()
        assert page.locator("#viewer form").is_hidden()
        assert page.locator("#viewer .stage").is_hidden()
    sound(blind, report)
    assert blind.said == ["no viewer: no WebGL 2"]
