"""Where the pages get what they show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.launcher.dashboard import sources as sources_module
from dni_async.launcher.dashboard.facts import facts_of
from dni_async.launcher.dashboard.ledger import Ledger
from dni_async.launcher.dashboard.sources import KEPT_S, LiveRun, Sources, told_now, written
from dni_async.launcher.plan.plan import make_plan
from dni_async.launcher.report.shelf.shelf import Shelf
from tests.launcher.dashboard.test_header import FACTS
from tests.launcher.report.shelf.test_shelf import put
from tests.launcher.told import EPOCH, decoupled, progress


def test_what_is_not_finite_is_null() -> None:
    value = {"a": float("nan"), "b": [float("inf"), 1.5], 3: (None, "x")}
    assert json.loads(written(value)) == {"a": None, "b": [None, 1.5], "3": [None, "x"]}


def test_the_first_page_is_made_once_until_more_is_told_or_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_s = [100.0]
    monkeypatch.setattr(sources_module, "monotonic", lambda: at_s[0])
    ledger = Ledger()
    live = LiveRun(ledger, tmp_path / "run")
    first = live.now()
    at_s[0] += KEPT_S / 2
    assert live.now() is first
    ledger.progress(progress(0))
    second = live.now()
    assert second is not first
    at_s[0] += KEPT_S  # nobody tells anything, which is to be seen
    assert live.now() is not second


def test_a_password_of_the_run_that_goes_on_is_told_nobody(tmp_path: Path) -> None:
    put(tmp_path, "other")
    ledger = Ledger()
    place = "postgresql://me:secret@host:5432/name"
    ledger.lay_out(facts_of(make_plan(RunConfig(layers=2, width=8, mlflow=place))))
    sources = Sources(LiveRun(ledger, tmp_path / "run"), Shelf(tmp_path))
    compared = written(sources.compare(["run", "other"]))
    assert "me:***@host" in compared
    assert "secret" not in compared


def test_the_loss_of_an_epoch_is_told_before_it_ends(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.begin(decoupled())
    for updates, loss in ((10, -1.0), (20, 2.5), (30, 2.25)):
        for stage in (0, 1):
            told = {"loss": loss} if stage == 1 else {}
            ledger.progress(progress(stage, updates=updates, busy_s=float(updates), **told))
    learning = Sources(LiveRun(ledger, tmp_path / "run"), Shelf(tmp_path)).learning("run")
    assert learning is not None
    assert learning["running"]["loss"] == [2.5, 2.25]
    assert learning["runs"][0]["epochs"] == []


def test_the_run_that_goes_on_hides_an_older_one_of_its_name(tmp_path: Path) -> None:
    put(tmp_path, "run", rate=1.0)
    put(tmp_path, "other")
    ledger = Ledger()
    sources = Sources(LiveRun(ledger, tmp_path / "run"), Shelf(tmp_path))
    ledger.lay_out(FACTS)
    ledger.begin(decoupled(EPOCH))
    rows = sources.runs()["runs"]
    assert [(row["name"], row["status"]) for row in rows] == [
        ("run", "training"), ("other", "finished"),
    ]  # fmt: skip
    assert json.loads(sources.now("run") or "")["status"] == "training"
    assert told_now(ledger)["epochs_told"] == 1
    assert sources.now("nobody") is sources.learning("nobody") is sources.health("nobody") is None
    assert sources.timeline("nobody", None, None, is_lockstep=False) is None
