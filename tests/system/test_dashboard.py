"""The dashboard in a real browser: of a run that loses a worker and ends, and then served again.

Needs Playwright's Python package and Debian's chromium; skipped with a reason where they lack.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dni_async.launcher.places.local import command_for
from tests.marked_process import MarkedProcess
from tests.system.conftest import Launch

pytestmark = pytest.mark.system

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (390, 768, 1280)
LIVE_PAGES = ("now", "learning", "health", "timeline", "runs")
WIDER = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield opened
        opened.close()


class Tab:
    """One page, which must not complain. complaints: what it wrote to its console, but notes."""

    def __init__(self, browser: Any, url: str, *, scheme: str = "light") -> None:
        self.page = browser.new_page(color_scheme=scheme)
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def figure(self, name: str) -> str:
        """What the head says under that name."""
        found = self.page.locator(".figures div", has=self.page.get_by_text(name, exact=True))
        text: str = found.locator("dd").inner_text()
        return text


def test_a_run_is_seen_in_a_browser_from_its_start_to_its_end(
    launch: Callable[..., Launch], browser: Any
) -> None:
    run = launch(
        "--no-baseline", "--layers=3", "--epochs=100000", "--dashboard", "--anchor-every=2",
        "--profile",
    )  # fmt: skip
    url = run.wait_for(r"dashboard: (http://127\.0\.0\.1:\d+/)").group(1)
    run.wait_for("epoch +5 ")
    tab = Tab(browser, url)
    tab.page.wait_for_selector(".box.is-busy, .box.is-waiting, .box.is-sending")
    assert tab.page.locator(".box").count() == 3
    assert tab.page.locator(".link").count() == 2
    shows_what_was_before(tab, url)
    fits_every_screen(tab, url, "run", LIVE_PAGES)
    shows_marks_as_they_come(tab, url)
    judges_word_by_word(tab)
    kill_shows(tab, url, run)
    asks_for_a_stack(tab, url)
    closed = Tab(browser, url)
    closed.page.close()
    last = int(run.wait_for(r"(?s:.*)epoch +(\d+) ").group(1))
    run.wait_for(f"epoch +{last + 20} ")
    tab.page.goto(f"{url}#/run/now")
    tab.page.wait_for_selector(".tag.training")
    run.interrupt()
    tab.page.wait_for_selector(".tag.interrupted")
    assert run.end(30) == 130
    assert tab.complaints == []
    run.assert_nothing_left()
    served_again(browser, run)


def shows_what_was_before(tab: Tab, url: str) -> None:
    """A page that is opened late has the history."""
    tab.page.goto(f"{url}#/run/learning")
    tab.page.wait_for_selector("figure .u-wrap canvas")
    told = tab.page.evaluate("fetch('/api/runs/run/learning').then((a) => a.json())")
    assert told["runs"][0]["epochs"][:5] == [1, 2, 3, 4, 5]
    tab.page.wait_for_selector("figure >> nth=7")  # five of the run, three of its boundaries


def fits_every_screen(tab: Tab, url: str, name: str, pages: tuple[str, ...]) -> None:
    """Nothing is wider than the page."""
    for width in WIDTHS:
        tab.page.set_viewport_size({"width": width, "height": 800})
        for page in pages:
            tab.page.goto(f"{url}#/{name}/{page}")
            tab.page.wait_for_selector("main section")
            assert tab.page.evaluate(WIDER) <= 0, (page, width)


def shows_marks_as_they_come(tab: Tab, url: str) -> None:
    """A run with --profile shows every mark of its last moments, and what went between stages."""
    tab.page.goto(f"{url}#/run/timeline")
    tab.page.get_by_text("Every mark, as far back").wait_for()
    ask = "fetch('/api/runs/run/timeline?length=10').then((a) => a.json())"
    told = tab.page.evaluate(ask)
    assert told["source"] == "told"
    assert all(track["marks"] for track in told["tracks"])
    assert {arrow[2] for arrow in told["arrows"]} == {"activation", "gradient"}
    tab.page.get_by_role("button", name="zoom in").click()
    tab.page.get_by_label("as it would be in lockstep").check()
    tab.page.get_by_text("Lockstep, reckoned, not measured").wait_for()


def judges_word_by_word(tab: Tab) -> None:
    """A line may hold what is good and what is bad: each of these words has its colour."""
    said = "1.20x the samples/s (faster); accuracy 90% in 3 s against 2 s (LATER), loss (x)"
    told = tab.page.evaluate(
        """async (said) => {
            const { sayJudged } = await import("/static/dom.js");
            const line = document.createElement("li");
            sayJudged(line, said);
            const words = [...line.children].map((each) => [each.className, each.textContent]);
            return [line.textContent, ...words];
        }""",
        said,
    )
    assert told == [said, ["good", "(faster)"], ["bad", "(LATER)"]]


def kill_shows(tab: Tab, url: str, run: Launch) -> None:
    """A worker that is killed shows within two seconds, with the cause."""
    tab.page.goto(f"{url}#/run/now")
    tab.page.wait_for_selector(".box")
    os.kill(run.worker_pids()[1], signal.SIGKILL)
    tab.page.wait_for_selector(".box.is-down, .box.is-new", timeout=2000)
    tab.page.get_by_text("was killed by SIGKILL").first.wait_for()
    tab.page.locator(".box.is-down").wait_for(state="detached")


def asks_for_a_stack(tab: Tab, url: str) -> None:
    """Where a worker stands is shown on request."""
    tab.page.goto(f"{url}#/run/health")
    tab.page.get_by_role("button", name="stack of stage 2").click()
    tab.page.get_by_text("most recent call first").first.wait_for()


def served_again(browser: Any, run: Launch) -> None:
    """The same pages show the run when it is over, with the figures of its report."""
    command = command_for("dni_async.launcher.commands.report", str(run.run_dir), "--serve")
    server = MarkedProcess(command, cwd=run.run_dir.parent)
    try:
        url = server.wait_for(r"dashboard: (http://127\.0\.0\.1:\d+/)").group(1)
        tab = Tab(browser, f"{url}#/run/now", scheme="dark")
        tab.page.wait_for_selector(".box.is-done")
        ours = run.report()["runs"][0]
        last = ours["epochs"][-1]
        assert tab.figure("samples/s") == f"{int(ours['samples_per_second'] + 0.5):,}"
        assert tab.figure("epoch") == f"{last['epoch']} / 100000"
        assert tab.figure("accuracy") == f"{last['test_metrics']['accuracy']:.2%}"
        assert tab.figure("restarts") == str(len(ours["restarts"])) == "1"
        for worker in ours["workers"]:
            box = tab.page.locator(".box").nth(worker["stage"]).inner_text()
            assert f"{worker['updates']:,}" in box
        fits_every_screen(tab, url, "run", ("now", "timeline"))
        assert tab.complaints == []
        server.interrupt()
        assert server.end(10) == 0, server.output
    finally:
        server.abort()
