"""What a dashboard keeps of the run that goes on."""

from __future__ import annotations

from dni_async.launcher.dashboard.ledger import Ledger
from tests.launcher.dashboard.test_header import FACTS
from tests.launcher.told import EPOCH, decoupled, progress


def test_whatever_is_told_makes_another_version() -> None:
    ledger, run = Ledger(), decoupled(EPOCH)
    versions = [ledger.version]
    for tell in (
        lambda: ledger.lay_out(FACTS),
        lambda: ledger.begin(run),
        lambda: ledger.progress(progress(0)),
        lambda: ledger.epoch(run, EPOCH),
        lambda: ledger.end({"status": "finished"}),
    ):
        tell()
        versions.append(ledger.version)
    assert len(set(versions)) == len(versions)
    assert ledger.moment().status == "finished"


def test_a_moment_stays_as_it_was() -> None:
    ledger = Ledger()
    ledger.begin(decoupled())
    ledger.progress(progress(1, updates=10))
    before = ledger.moment()
    ledger.progress(progress(1, updates=30, busy_s=3.0))
    now = ledger.moment()
    assert before.stages[1].last.counters.work.updates == 10
    assert before.stages[1].recent == ()
    assert now.stages[1].recent[0][1].updates == 10.0
    assert [len(rows) for rows in ledger.history().values()] == [1]


def test_a_replacement_that_counts_anew_has_no_pace_at_first() -> None:
    ledger = Ledger()
    for updates, busy_s in ((90, 9.0), (100, 10.0), (0, 0.1), (10, 1.1)):
        ledger.progress(progress(0, updates=updates, busy_s=busy_s))
    assert len(ledger.moment().stages[0].recent) == 2
