"""A folder of runs: which there are, what came of each, how they differ."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dni_async.launcher.report.shelf.differing import differences
from dni_async.launcher.report.shelf.rows import row_of_report
from dni_async.launcher.report.shelf.shelf import Shelf
from tests.launcher.reports import report, worker


def put(folder: Path, name: str, *, age_s: int = 0, rate: float = 100.0, load: float = 0.0) -> None:
    """A run that has ended, so long ago."""
    place = folder / name
    place.mkdir(exist_ok=True)
    (place / "config.toml").write_text("")
    written = report(worker(0, 0.01), rate=rate, cores=2, baseline=50.0)
    written["environment"]["load"] = load
    (place / "report.json").write_text(json.dumps(written))
    os.utime(place / "report.json", (1e9 - age_s, 1e9 - age_s))


def test_runs_are_listed_the_newest_first_and_others_are_not(tmp_path: Path) -> None:
    put(tmp_path, "old", age_s=60)
    put(tmp_path, "new")
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file").write_text("")
    shelf = Shelf(tmp_path)
    assert [row["name"] for row in shelf.rows()] == ["new", "old"]
    assert shelf.path("old") == tmp_path / "old"
    for name in ("no-run", "..", "../x", "", "new/../old", "file"):
        assert shelf.path(name) is None
        assert shelf.report(name) is None
    assert Shelf(tmp_path / "not there").rows() == []


def test_a_run_alone_is_a_shelf_of_one(tmp_path: Path) -> None:
    put(tmp_path, "only")
    shelf = Shelf(tmp_path / "only")
    assert shelf.names() == ["only"]
    assert shelf.path("only") == tmp_path / "only"
    assert shelf.report("only") is not None


def test_a_report_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    put(tmp_path, "run", age_s=60)
    shelf = Shelf(tmp_path)
    assert shelf.rows()[0]["samples_per_second"] == 100.0
    put(tmp_path, "run", rate=200.0)
    assert shelf.rows()[0]["samples_per_second"] == 200.0
    (tmp_path / "run" / "report.json").write_text("{")
    assert shelf.rows() == [{"name": "run", "status": "no report that can be read"}]


def test_a_row_says_what_came_of_a_run_and_whether_its_speeds_compare(tmp_path: Path) -> None:
    written = report(worker(0, 0.01), rate=100.0, cores=2, baseline=50.0)
    row = row_of_report("a", written)
    assert (row["status"], row["data"], row["rule"], row["workers"]) == (
        "finished", "digits", "dni", 1,
    )  # fmt: skip
    assert row["samples_per_second"] == 100.0
    assert (row["vs_one_thread"], row["vs_all_threads"]) == (2.0, None)
    put(tmp_path, "busy", load=3.0)
    assert Shelf(tmp_path).rows()[0]["vs_one_thread"] == "not comparable"


def test_settings_that_differ_are_listed_and_no_others() -> None:
    one = {"width": 64, "devices": ["cpu"], "window": None, "new": 1}
    two = {"width": 128, "devices": ["cpu"], "window": "auto"}
    assert differences([one, two]) == [
        {"name": "width", "values": ["64", "128"]},
        {"name": "window", "values": ["unset", "auto"]},
        {"name": "new", "values": ["1", "not there"]},
    ]
    assert differences([one, one]) == differences([one]) == differences([]) == []
