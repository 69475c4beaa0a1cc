"""What a person does with a report, done in Chromium on pages opened from disk."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attnverify.library import catalog
from attnverify.live import Server
from tests.house import ROOT

pytestmark = pytest.mark.browser

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
# Nothing but the page: a browser that looks for news of itself is not what is tested.
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = {"desktop": 1280, "phone": 360}
SCHEMES = ("light", "dark")
EXAMPLE = ROOT / "reports" / "example" / "index.html"
SUBJECT = "examples/numpy_wrong.py:sees_one_future_key"
LIVE = "http://127.0.0.1:"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; without Chromium there is nothing to test."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium: install Debian's chromium, or name one in CHROMIUM")
    driver = pytest.importorskip("playwright.sync_api", reason="needs the group `browser`")
    with driver.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield found
        found.close()


@pytest.fixture(params=[(w, s) for w in WIDTHS for s in SCHEMES], ids="-".join)
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens a file at one width in one scheme; what it asks of a network fails the test."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 800},
        color_scheme=scheme,
        permissions=["clipboard-read", "clipboard-write"],
    )
    asked: list[str] = []
    faults: list[str] = []

    def opened(path: Path | str) -> Any:
        page = context.new_page()
        page.on("request", lambda one: asked.append(one.url))
        page.on("console", lambda told: faults.append(told.text))
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.goto(path if isinstance(path, str) else path.as_uri())
        if folder := os.environ.get("SCREENSHOTS"):
            name = (
                re.sub(r"\W+", "-", path.split("/", 3)[3]) if isinstance(path, str) else path.stem
            )
            page.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png", full_page=True)
        return page

    yield opened
    context.close()
    assert faults == []
    assert asked
    here = ("file:", "data:", "http://127.0.0.1:") if LIVE in asked[0] else ("file:", "data:")
    assert [url for url in asked if not url.startswith(here)] == []


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a subject that is wrong, with its witnesses beside it."""
    folder = tmp_path_factory.mktemp("failing")
    shutil.copytree(ROOT / "examples", folder / "examples")
    done = run(["check", SUBJECT, "--spec", "causal", "--html", "report.html"], folder)
    assert done.returncode == 1, done.stderr
    return folder / "report.html"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the whole catalogue: the one that CATALOGUE names, or judged now."""
    if told := os.environ.get("CATALOGUE"):
        return Path(told).resolve()
    folder = tmp_path_factory.mktemp("catalogue")
    done = run(["verify", "--jobs", "2", "--quiet", "--html", "index.html"], folder, 3600)
    assert done.returncode == 0, done.stderr
    return folder / "index.html"


@pytest.fixture(scope="module")
def served(failing: Path) -> Iterator[str]:
    """The address of a live view of the example's report and of a store with a failing run."""
    with Server(EXAMPLE.parent, failing.parent / ".attnverify", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


def run(words: list[str], folder: Path, limit: float = 120) -> subprocess.CompletedProcess[str]:
    """One command of ours, in a folder."""
    command = [sys.executable, "-m", "attnverify", *words]
    told = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, env=told, capture_output=True, text=True, timeout=limit, check=False
    )


def violations(page: Any) -> list[str]:
    """What axe finds wrong with a page as it stands, the minor things left out."""
    base = pytest.importorskip("axe_playwright_python.base", reason="needs the group `browser`")
    page.evaluate(Path(base.AXE_FILE_PATH).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['impact']} {one['id']}: {one['nodes'][0]['target']}"
        for one in found
        if one["impact"] != "minor"
    ]


def fits(page: Any) -> bool:
    """Whether nothing sticks out to the right."""
    found: bool = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return found


def test_an_index_is_filtered_and_leads_to_a_verdict(visit: Open) -> None:
    page = visit(EXAMPLE)
    parts = page.locator(".part:visible")
    everything = parts.count()
    page.get_by_role("searchbox").fill("WINDOW sliding")
    assert parts.count() == page.locator(".matrix tbody tr:visible").count() == 1
    shown = ["Overview", "What becomes what", "Specs"]
    assert page.locator("h2:visible").all_text_contents() == shown
    assert page.locator(".matrix:visible").count() == 1
    assert page.locator("output").text_content() == f"1 of {everything}"
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox").select_option("refuted")
    assert parts.count() == 2
    page.get_by_role("combobox").select_option("")
    assert parts.count() == everything
    page.locator(".matrix a[href*='causal.html#causality']").first.click()
    assert page.url.endswith("index_files/causal.html#causality")
    target = page.locator(":target")
    assert target.get_by_role("link", name="causality", exact=True).is_visible()
    assert target.evaluate("one => one.getBoundingClientRect().top < window.innerHeight")


def test_the_whole_catalogue_is_read(visit: Open, catalogue: Path) -> None:
    page = visit(catalogue)
    assert catalogue.stat().st_size < 1_000_000
    assert max(one.stat().st_size for one in catalogue.parent.glob("*_files/*.html")) < 400_000
    rows = page.locator(".matrix tbody tr:visible")
    assert rows.count() == len(catalog())
    assert violations(page) == []
    assert fits(page)
    page.get_by_role("searchbox").fill("sliding counts=left")
    assert rows.count() == 1
    assert 0 < page.locator(".part:visible").count() < 3
    page.get_by_role("searchbox").fill("")
    assert rows.count() == len(catalog())
    page.locator(".members a").first.click()
    assert page.locator("h1").inner_text().endswith(")")
    assert violations(page) == []
    assert fits(page)


def test_what_becomes_what_is_walked_with_the_keyboard(visit: Open, catalogue: Path) -> None:
    page = visit(catalogue)
    line = page.locator(".lattice a.step[aria-label*='sliding_window is causal']")
    line.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("sliding-window[^/]*--becomes$"))
    page.locator(":target a").first.click()
    assert page.locator("h1").inner_text().startswith("causal")
    page.go_back()
    page.go_back()
    node = page.locator(".lattice a.node", has_text=re.compile("^rope$"))
    node.click()
    assert page.locator("h1").inner_text().startswith("rope")


def test_a_spec_is_drawn_again_as_a_field_changes(visit: Open, served: str) -> None:
    page = visit(f"{served}specs/sliding_window")
    seen = page.get_by_text(re.compile(r"of 144 pairs are seen"))
    assert seen.inner_text().endswith("33 of 144 pairs are seen")
    assert violations(page) == []
    assert fits(page)
    page.get_by_role("spinbutton", name="window").fill("1")
    page.get_by_role("spinbutton", name="window").press("Tab")
    page.get_by_text("12 of 144 pairs are seen").wait_for()
    assert "set.window=1" in page.url
    page.get_by_label("align").select_option("bottom_right")
    page.get_by_role("spinbutton", name="queries").fill("4")
    page.get_by_role("spinbutton", name="queries").press("Tab")
    page.get_by_text(re.compile("of 48 pairs are seen")).wait_for()
    assert "choose.align=bottom_right" in page.url
    page.reload()
    assert page.get_by_text(re.compile("of 48 pairs are seen")).is_visible()
    assert violations(page) == []


@pytest.mark.parametrize("place", ["", "compare", "specs/causal?head=1", "specs/lstm"])
def test_a_live_page_is_for_everybody(visit: Open, served: str, place: str) -> None:
    page = visit(f"{served}{place}")
    assert violations(page) == []
    assert fits(page)


def test_two_runs_are_compared_from_the_index(visit: Open, served: str) -> None:
    page = visit(served)
    page.get_by_role("button", name="What changed").click()
    assert "/compare?old=" in page.url
    assert page.locator("h1").inner_text() == "What changed"
    page.get_by_label("from").select_option("report.json")
    page.get_by_label("to").select_option("report.json")
    page.get_by_role("button", name="What changed").click()
    assert page.get_by_text("Every verdict is what it was.").is_visible()


def test_without_scripts_a_spec_is_drawn_by_its_form(browser: Any, served: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served}specs/sliding_window")
    page.get_by_role("spinbutton", name="window").fill("1")
    page.get_by_role("button", name="Draw").click()
    assert page.get_by_text("12 of 144 pairs are seen").is_visible()
    context.close()


def test_a_proof_is_read_step_by_step(visit: Open) -> None:
    page = visit(EXAMPLE.parent / "index_files" / "causal.html")
    fold = page.locator("details.fold:has(summary:text('Certificate'))").first
    assert not fold.locator("li").first.is_visible()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert fold.locator("li").first.is_visible()
    steps = int(fold.locator("summary").inner_text().split(", ")[1].split()[0])
    assert fold.locator("li:visible").count() == steps > 1
    assert violations(page) == []
    assert fits(page)


def test_a_replay_command_is_copied_and_runs(visit: Open, failing: Path) -> None:
    page = visit(failing)
    page.locator(".failures pre.replay").first.click()
    page.keyboard.press("Control+C")
    name, *words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert (name, words[:2]) == ("attnverify", ["check", SUBJECT])
    done = run(words, failing.parent)
    assert done.returncode == 1, done.stderr
    assert "REFUTED" in done.stdout


@pytest.mark.parametrize("name", ["index.html", "failing", "numpy_wrong", "causal.html"])
def test_a_page_is_for_everybody(visit: Open, failing: Path, name: str) -> None:
    paths = [EXAMPLE, *sorted(EXAMPLE.parent.glob("index_files/*.html"))]
    told = name.replace("_", "-")
    path = failing if name == "failing" else next(one for one in paths if told in one.name)
    page = visit(path)
    assert violations(page) == []
    assert fits(page)
    page.emulate_media(media="print")
    assert not page.locator(".filter").is_visible()


def test_without_scripts_only_the_filter_is_missing(browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(EXAMPLE.as_uri())
    assert not page.locator(".filter").is_visible()
    page.locator(".apart a").first.click()
    assert "index_files/" in page.url
    context.close()


WRONG = {
    "image-alt": "<img src='data:,'>",
    "color-contrast": "<p style='color: #999; background: #aaa'>faint words</p>",
    "label": "<input>",
}


@pytest.mark.parametrize("rule", WRONG)
def test_what_is_wrong_with_a_page_is_found(visit: Open, tmp_path: Path, rule: str) -> None:
    path = tmp_path / "wrong.html"
    head = "<!doctype html><html lang=en><title>wrong</title><main><h1>Wrong</h1>"
    path.write_text(f"{head}{WRONG[rule]}<p style='width: 3000px'>wide</p></main>", "utf-8")
    page = visit(path)
    assert any(f" {rule}:" in one for one in violations(page))
    assert not fits(page)


def test_a_request_and_a_fault_are_seen(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "asks.html"
    path.write_text("<!doctype html><img src='http://127.0.0.1:9/x.png'>", "utf-8")
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.goto(path.as_uri())
    assert "http://127.0.0.1:9/x.png" in asked
    page.close()
