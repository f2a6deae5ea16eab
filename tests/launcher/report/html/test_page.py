"""The report as one page: whole, well-formed, and with nothing in it that was not escaped."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from dni_async.launcher.commands import report as report_cli
from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.report.comparison import comparison_of
from dni_async.launcher.report.html.page import build_page
from dni_async.launcher.report.html.svg import Bar, Part, Series, draw_bars, draw_curves, nice_ticks
from tests.launcher.reports import boundary, link, report, worker

PHASES = {"forward": 0.002, "backward": 0.007, "a kind to come": 0.001}


def full_report() -> dict[str, Any]:
    """A report with all that a page can show."""
    workers = worker(0, 0.01, phases=PHASES), worker(1, 0.02, occupancy=None)
    told = report(*workers, rate=4000, baseline=9000, target=0.9)
    told["runs"][0]["boundaries"] = [boundary(0, 0.12, 0.345, 0.678)]
    told["runs"][0]["links"] = [link(0, carrier="shared <memory>")]
    return told


def parsed(page: str) -> ElementTree.Element:
    """The page's root element; raises where it is not well-formed."""
    return ElementTree.fromstring(page)


def all_text(page: str) -> str:
    """What a reader sees, and what is shown where one points."""
    return " ".join("".join(parsed(page).itertext()).split())


def test_a_busy_machine_is_told_instead_of_a_ratio() -> None:
    told = full_report()
    text = all_text(build_page(told))
    assert "0.44\u00d7" in text
    assert "not comparable" not in text
    told["environment"]["load"] = 9.0
    text = all_text(build_page(told))
    assert "0.44" not in text
    assert "before the run 9.0 processes wanted 8 cores" in text
    assert text.index("bottleneck") < text.index("Side by side")  # what is to be known comes first


def test_the_page_shows_the_run() -> None:
    text = all_text(build_page(full_report()))
    for said in (
        "dni-async: digits",
        "4,000",
        "0.44\u00d7",
        "0.44x the samples/s of the baseline on one thread (SLOWER); accuracy",
        "baseline-1-thread",
        "not reached",
        "training loss",
        "test loss",
        "Synthetic against returned gradients",
        "boundary 0: 0.345 at 2",
        "0.12 to 0.68",
        "stage 1",
        "backward 7.000 ms",
        "a kind to come",
        "200",  # peak MB
        "shared <memory>",
        "credit",
        "Stage 1 is the bottleneck",
        "What to change",
        "batch_size",
    ):
        assert said in text, said


def test_what_came_of_it_stands_first_and_what_it_rests_on_later() -> None:
    told = full_report()
    told["runs"][0]["workers"][0]["phases"] = PHASES
    heads = [each.text or "" for each in parsed(build_page(told)).iter("h2")]
    wanted = ["Diagnosis", "Side by side", "Learning", "Synthetic against returned gradients"]
    wanted += ["Links", "Where the time went", "A batch, stage by stage", "Stages"]
    assert [head for head in heads if head in wanted] == wanted
    text = all_text(build_page(told))
    verdict = comparison_of(told)["verdict"]
    assert text.index(verdict[1:]) < text.index("samples/s of dni") < text.index("Diagnosis")


def test_no_ratio_stands_without_the_metric_of_both() -> None:
    (card,) = [
        section
        for section in parsed(build_page(full_report())).iter("section")
        if "\u00d7" in "".join(section.itertext())
    ]
    said = "".join(card.itertext())
    assert (
        said
        == "0.44\u00d7the samples/s of the baseline on one thread; accuracy 30.00% against 30.00%"
    )


def test_what_is_wider_than_a_small_screen_moves_within_itself() -> None:
    root = parsed(build_page(full_report()))
    scrolled = {
        table for each in root.iter("div") if each.get("class") == "scroll" for table in each
    }
    tables = set(root.iter("table"))
    assert tables
    assert tables == scrolled


def test_curves_and_bars_are_told_apart_without_colour() -> None:
    page = build_page(full_report())
    for name in ("hue-0", "hue-1"):
        (dashes,) = re.findall(rf"\.curve\.{name} {{[^}}]*stroke-dasharray: ([^;]+);", page)
        assert (dashes == "none") == (name == "hue-0")
    assert page.count('class="swatch"') == 2 + 1  # two runs, and a boundary


def test_the_page_needs_nothing_else() -> None:
    page = build_page(full_report())
    assert "http" not in page
    tags = {element.tag for element in parsed(page).iter()}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "image", "use"})
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page


def test_every_colour_that_is_used_is_defined() -> None:
    page = build_page(full_report())
    used = set(re.findall(r"\bhue-\d+", page.partition("</style>")[2]))
    assert used
    for name in used:
        assert f".{name} {{ fill" in page


NASTY = "<script>alert('x')</script> & \"quoted\""


def test_everything_from_the_report_is_escaped() -> None:
    told = full_report()
    told["data"]["name"] = told["status"] = told["environment"]["processor"] = NASTY
    told["environment"]["devices"] = [NASTY]
    told["config"][NASTY] = NASTY
    for run in told["runs"]:
        run["name"] = NASTY
    told["runs"][0]["workers"][0]["phases"] = {NASTY: 0.01}
    page = build_page(told)
    assert "<script" not in page
    assert all_text(page).count("alert('x')") >= 8
    parsed(page)


@pytest.mark.parametrize(
    "told",
    [
        {**report(rate=0), "runs": [], "speedup": None},
        {**report(rate=0), "speedup": None},
        report(worker(0, 0.01, updates=0), rate=0),
        report(worker(0, 0.01), rate=0, rule="backprop"),
    ],
    ids=["nothing", "no worker", "no update", "no epoch"],
)
def test_a_run_that_ended_early_has_a_page(told: dict[str, Any]) -> None:
    for run in told["runs"]:
        run.update(epochs=[], test_metrics={}, test_loss=None)
    assert "digits" in all_text(build_page(told))


def test_a_report_of_an_older_version_has_a_page_without_the_new_parts() -> None:
    told = full_report()
    told["runs"][0]["workers"] = [
        {
            key: value
            for key, value in each.items()
            if key in ("stage", "busy", "waiting", "sending")
        }
        for each in told["runs"][0]["workers"]
    ]
    for each in told["runs"][0]["workers"]:
        each["updates"] = 10
    for run in told["runs"]:
        for epoch in run["epochs"]:
            epoch.pop("test_loss", None)  # the runs of this report share them
        del run["boundaries"]
    page = build_page(told)
    assert "Where the time went" in page
    assert "test loss: nothing to draw yet" in page
    assert "Diagnosis" not in page
    assert "returned gradients" not in page


def test_a_rule_without_synthetic_gradients_has_a_page_without_their_part() -> None:
    told = full_report()
    told["runs"][0]["boundaries"] = []
    assert "returned gradients" not in build_page(told)


def test_more_boundaries_than_colours_are_drawn_in_colours_that_are_defined() -> None:
    told = full_report()
    told["runs"][0]["boundaries"] = [boundary(stage, 0.5) for stage in range(15)]
    page = build_page(told)
    assert "boundary 14" in page
    used = set(re.findall(r"\bhue-\d+", page.partition("</style>")[2]))
    assert all(f".{name} {{ fill" in page for name in used)


def test_the_command_prints_the_diagnosis_and_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(told_by_a_run()))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(report_cli.command, [str(tmp_path), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "- Stage 1 is the bottleneck" in done.output
    assert "ms/batch" in done.output
    assert re.search(
        r"^ *0 +3,000 +0\.12 to 0\.68 +1\.25 +0\.50 to 1\.50 +3 +19 *$", done.output, re.M
    )
    parsed(page.read_text(encoding="utf-8"))


def test_a_page_that_cannot_be_written_is_an_error_of_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(told_by_a_run()))
    nowhere = tmp_path / "missing" / "page.html"
    arguments = [str(tmp_path), "--html", str(nowhere)]
    assert exit_code_of(report_cli.command, arguments, "dni-report") == 2
    assert capsys.readouterr().err.startswith(f"Error: html: {nowhere}")


def told_by_a_run() -> dict[str, Any]:
    """A full report as the command line can print it."""
    told = full_report()
    told["speedup"]["time_to_target_vs_all_threads"] = None
    return told


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (1, 8, [0, 2, 4, 6, 8]),
        (0.71, 0.983, [0.7, 0.8, 0.9, 1.0]),
        (5.0, 5.0, [4.0, 4.5, 5.0, 5.5, 6.0]),
        (0.0, 0.0, [-0.5, 0.0, 0.5]),
        (-3e-7, 4e-7, [-4e-7, -2e-7, 0.0, 2e-7, 4e-7]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1, 1, [0, 1, 2]), (1, 3, [1, 2, 3]), (1, 8, [0, 2, 4, 6, 8]), (0, 0, [-1, 0, 1])],
)
def test_ticks_of_counts_are_whole(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, smallest=1.0) == ticks


def test_an_axis_reaches_what_it_is_told_to_enclose() -> None:
    curve = [Series("a", "hue-0", [(1.0, 0.4), (2.0, 0.45)])]
    drawn = draw_curves("cosine", curve, x_label="epoch", show=str, encloses=(0.0, 1.0))
    shown = re.findall(r'class="tick"[^>]*>([^<]*)<', drawn)
    assert shown == ["0.0", "0.5", "1.0", "1", "2", "epoch"]


def test_curves_leave_out_what_is_no_number() -> None:
    points = [(1.0, 0.5), (2.0, float("nan")), (3.0, float("inf")), (4.0, 0.7)]
    drawn = draw_curves("loss", [Series("a", "hue-0", points)], x_label="epoch", show=str)
    assert drawn.count("<circle") == 2
    assert "nan" not in drawn
    nothing = draw_curves("loss", [Series("a", "hue-0", [])], x_label="epoch", show=str)
    assert "nothing to draw" in nothing


def test_bars_of_nothing_are_drawn() -> None:
    for bars in ([], [Bar("stage 0", [Part("rest", 0.0, "none")])]):
        parsed(draw_bars("empty", bars))


def test_an_epoch_of_which_all_was_lost_is_no_point_of_a_curve() -> None:
    told = full_report()
    lost = {"train_loss": None, "num_samples": 0, "test_loss": None, "num_tested": 0}
    assert "dni: 0.5 at 2" in all_text(build_page(told))
    told["runs"][0]["epochs"][1] |= lost
    text = all_text(build_page(told))
    assert "dni: -1" not in text
    assert "dni: 0.5 at 2" not in text
    assert "dni: 0.3333 at 3" in text
