"""The review page in a real Chromium: hands on the keyboard, boxes on an image, a phone, and nobody shut out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.browser_world import CONTROL, ENTER, ESCAPE, MISSING, Chromium, axe, chromium, faults
from workbench_pipelines_tests.page_world import copied, planted, served
from workbench_pipelines_tests.project_world import Project

__all__ = ["planted"]

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
START = "/queue/drafted/next"


@pytest.fixture(scope="module")
def window() -> Iterator[Chromium]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def workbench(planted: Project, tmp_path: Path) -> Workbench:
    return copied(planted, tmp_path / "project")


@pytest.fixture
def url(workbench: Workbench) -> Iterator[str]:
    with served(workbench) as found:
        yield found


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: a folder of the test, or one that is named to look at them."""
    folder = Path(os.environ.get("WORKBENCH_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def enter(window: Chromium, workbench: Workbench, url: str, person: str) -> None:
    """By the keyboard alone, as everything here."""
    window.size(1280, 900)
    window.go(f"{url}/login")
    window.type(ReviewTokens(workbench.settings.state).issue(person))
    window.press(ENTER)
    wait(window, lambda: "What waits" in window.text())


def wait(window: Chromium, ready: object) -> None:
    assert callable(ready)
    for _ in range(200):
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError(f"{window.url} did not come to it: {window.text()[:500]}")


def leaves(window: Chromium, page: str) -> None:
    wait(window, lambda: window.url != page and window.run("return document.readyState") == "complete")


def test_ten_pairs_are_reviewed_by_the_keyboard_alone(
    window: Chromium, workbench: Workbench, url: str, shots: Path
) -> None:
    enter(window, workbench, url, "bob")
    window.go(url + START)
    window.screenshot(shots / "pair.png")
    started = time.monotonic()
    for number in range(10):
        page = window.url
        if number % 5 == 1:
            window.press("1", CONTROL + ENTER)  # the first choice is the right one
        elif number % 5 == 2:
            window.press("e", "2")
            window.press(CONTROL + ENTER)
        elif number == 3:
            window.press("r")
        elif number == 4:
            window.press("f")
        else:
            window.press("a")
        leaves(window, page)
    took = time.monotonic() - started
    print(f"ten pairs by keyboard: {took:.1f} s")
    window.screenshot(shots / "after_ten.png")
    ledger = workbench.decisions().sort("at")
    expected = ["approve", "edit", "edit", "reject", "flag", "approve", "edit", "edit", "approve", "approve"]
    assert ledger["action"].to_list() == expected
    assert ledger["label_data"].drop_nulls().to_list() == ['{"team":"access"}', '{"team":"billing"}'] * 2
    assert window.text("#progress") == "10 / 12"


def test_on_back_undo_and_typing_in_a_field(window: Chromium, workbench: Workbench, url: str) -> None:
    enter(window, workbench, url, "bob")
    window.go(url + START)
    first = window.url
    window.press("j")
    leaves(window, first)
    second = window.url
    window.press("k")
    leaves(window, second)
    assert window.url == first
    window.click("#reason")
    window.type("a fair reason")  # letters in a field are no keys
    window.press(ESCAPE, "r")
    leaves(window, first)
    assert workbench.decisions()["reason"].to_list() == ["a fair reason"]
    window.press("u")
    wait(window, lambda: "taken back" in window.text())
    assert window.url == first


def test_what_was_typed_stays_when_somebody_was_faster(
    window: Chromium, workbench: Workbench, url: str, shots: Path
) -> None:
    from workbench_pipelines_tests.page_world import Person, browser

    enter(window, workbench, url, "bob")
    window.go(url + START)
    with browser(url) as client:
        client.post("/login", data={"token": ReviewTokens(workbench.settings.state).issue("eve")})
        eve = Person(client)
        eve.get(window.url.removeprefix(url))
        eve.send("reject", reason="mine")
    window.press("1")
    window.click("#notes")
    window.type("half an hour of thought")
    window.press(CONTROL + ENTER)
    wait(window, lambda: "eve decided of this item" in window.text())
    window.screenshot(shots / "conflict.png")
    assert window.run("return document.getElementById('notes').value") == "half an hour of thought"
    assert workbench.decisions()["by"].to_list() == ["eve"]


def test_a_box_is_drawn_on_an_image(window: Chromium, workbench: Workbench, url: str, shots: Path) -> None:
    enter(window, workbench, url, "ann")
    window.go(f"{url}/label/pictures/cars")
    wait(window, lambda: window.run("return document.querySelector('figure img').naturalWidth") == 200)
    window.click("[data-zoom=in]")
    x, y, width = window.run(
        "document.querySelector('.overlay').scrollIntoView({block: 'start'});"
        "const b = document.querySelector('.overlay').getBoundingClientRect(); return [b.x, b.y, b.width]"
    )
    scale = width / 200

    def at(px: int, py: int) -> tuple[str, int, int]:
        return ("move", round(x + px * scale), round(y + py * scale))

    window.move(at(20, 10), ("down", 0, 0), at(60, 40), at(80, 50), ("up", 0, 0))
    (box,) = json.loads(window.run("return document.querySelector('textarea[data-draw]').value"))
    assert box["label"] == "car"
    for name, expected in (("x", 20), ("y", 10), ("width", 60), ("height", 40)):
        assert abs(box[name] - expected) <= 2, box
    window.screenshot(shots / "boxes.png")
    page = window.url
    window.press(CONTROL + ENTER)
    leaves(window, page)
    (row,) = workbench.decisions().to_dicts()
    assert json.loads(row["label_data"])["cars"] == [box]


def test_an_area_is_drawn_corner_by_corner(window: Chromium, workbench: Workbench, url: str) -> None:
    enter(window, workbench, url, "ann")
    window.go(f"{url}/label/pictures/areas")
    wait(window, lambda: window.run("return document.querySelector('figure img').naturalWidth") == 200)
    x, y, width = window.run(
        "document.querySelector('.overlay').scrollIntoView({block: 'start'});"
        "const b = document.querySelector('.overlay').getBoundingClientRect(); return [b.x, b.y, b.width]"
    )
    corners = [(20, 20), (60, 20), (60, 60)]
    for px, py in corners:
        at = ("move", round(x + px * width / 200), round(y + py * width / 200))
        window.move(at, ("down", 0, 0), ("up", 0, 0))
        time.sleep(0.6)  # else two corners are a double click
    last = ("move", round(x + 20 * width / 200), round(y + 60 * width / 200))
    window.move(last, ("down", 0, 0), ("up", 0, 0), ("down", 0, 0), ("up", 0, 0))
    (area,) = json.loads(window.run("return document.querySelector('textarea[data-draw]').value"))
    expected = [*corners, (20, 60)]
    assert len(area["points"]) == 4
    for found, wanted in zip(area["points"], expected, strict=True):
        assert max(abs(found[0] - wanted[0]), abs(found[1] - wanted[1])) <= 2, area


def test_boxes_and_areas_are_drawn_into_one_label(window: Chromium, workbench: Workbench, url: str) -> None:
    enter(window, workbench, url, "ann")
    window.go(f"{url}/label/pictures/both")
    wait(window, lambda: window.run("return document.querySelector('figure img').naturalWidth") == 200)
    x, y, width = window.run(
        "document.querySelector('.overlay').scrollIntoView({block: 'start'});"
        "const b = document.querySelector('.overlay').getBoundingClientRect(); return [b.x, b.y, b.width]"
    )

    def at(px: int, py: int) -> tuple[str, int, int]:
        return ("move", round(x + px * width / 200), round(y + py * width / 200))

    window.move(at(20, 10), ("down", 0, 0), at(80, 50), ("up", 0, 0))
    window.run(
        "const tool = document.querySelector('[aria-label=Draw]'); tool.value = 1;"
        "tool.dispatchEvent(new Event('change'));"
        "document.querySelector('[aria-label=\"What is drawn\"]').value = 'van'"
    )
    for px, py in ((100, 20), (140, 20)):
        window.move(at(px, py), ("down", 0, 0), ("up", 0, 0))
        time.sleep(0.6)  # else two corners are a double click
    window.move(at(140, 60), ("down", 0, 0), ("up", 0, 0), ("down", 0, 0), ("up", 0, 0))
    assert window.run("return document.querySelectorAll('.overlay rect, .overlay polygon').length") == 2
    page = window.url
    window.press(CONTROL + ENTER)
    leaves(window, page)
    (row,) = workbench.decisions().to_dicts()
    label = json.loads(row["label_data"])
    assert [one["label"] for one in (*label["boxes"], *label["polygons"])] == ["car", "van"]
    assert len(label["polygons"][0]["points"]) == 3


def test_a_pdf_opens_in_the_page(window: Chromium, workbench: Workbench, url: str, shots: Path) -> None:
    enter(window, workbench, url, "ann")
    window.go(f"{url}/label/pictures/cars")
    window.click("details.paper summary")
    wait(window, lambda: window.run("return !!document.querySelector('details.paper iframe')"))
    window.run("document.querySelector('details.paper iframe').scrollIntoView({block: 'center'})")
    time.sleep(1.5)  # the viewer draws by itself
    # The viewer is no page that a script sees into: that it holds no page of errors is what can be told.
    assert (
        window.run("return document.querySelector('details.paper iframe').contentDocument?.body?.innerText ?? ''") == ""
    )
    window.screenshot(shots / "paper.png")


def test_a_stale_label_is_shown_with_what_changed(
    window: Chromium, workbench: Workbench, url: str, shots: Path
) -> None:
    enter(window, workbench, url, "bob")
    window.go(url + START)
    page = window.url
    item = window.text("h1")
    window.press("a")
    leaves(window, page)
    table = ("data", "sheet_snapshot", "tickets")
    before = workbench.lake.read(*table)

    def put(subject: pl.Expr, note: pl.Expr) -> None:
        is_it = pl.col("item_ref") == item
        changed = (
            pl.when(is_it).then(new).otherwise(name).alias(name) for name, new in (("subject", subject), ("note", note))
        )
        workbench.lake.replace_table(*table, frame=before.with_columns(changed))
        window.go(page)

    put(pl.col("subject"), pl.lit("an unseen column"))
    assert "Changed since" not in window.text()
    put(pl.lit("Refund for the cancelled invoice"), pl.col("note"))
    assert "Changed since the label of bob" in window.text()
    assert "Refund for the cancelled invoice" in window.text("table.diff ins")
    window.screenshot(shots / "stale.png")
    put(pl.col("subject"), pl.col("note"))
    assert "Changed since" not in window.text()


def test_no_page_has_a_serious_accessibility_fault(
    window: Chromium, workbench: Workbench, url: str, shots: Path
) -> None:
    checker = axe()
    if checker is None:
        pytest.skip("axe-core-python is not installed; it comes with the extra `test`")
    with served(workbench) as other:
        window.go(f"{other}/login")
        assert faults(window, checker) == []
    enter(window, workbench, url, "bob")
    for name, path in (
        ("start", "/"),
        ("queue", "/queue/drafted"),
        ("pair", START),
        ("restricted", "/queue/closed/next"),
        ("item", "/label/pictures/cars"),
        ("error", "/nowhere"),
    ):
        window.go(url + path)
        assert faults(window, checker) == [], name
    window.go(url + START)
    window.press("2", CONTROL + ENTER)
    wait(window, lambda: "saved" in window.text())
    window.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert faults(window, checker) == []
    window.screenshot(shots / "opened.png")


def test_it_fits_a_phone(window: Chromium, workbench: Workbench, url: str, shots: Path) -> None:
    enter(window, workbench, url, "bob")
    window.size(390, 844)
    for name, path in (("start", "/"), ("queue", "/queue/drafted"), ("pair", START), ("item", "/label/pictures/cars")):
        window.go(url + path)
        wide, seen = window.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        window.screenshot(shots / f"phone_{name}.png")
        assert wide <= seen, name
