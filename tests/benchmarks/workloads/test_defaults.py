"""A size is chosen by accuracy first, then by time, and not at all beside other programs."""

from __future__ import annotations

from benchmarks.workloads.defaults import Row, best, results

BEHIND = Row({"width": 32}, accuracy=[0.9], their_accuracy=[0.98], speedup=[2.0], equal=[3.0])
SLOWER = Row({"width": 64}, accuracy=[0.97], their_accuracy=[0.97], speedup=[0.5], equal=[0.8])
SOONER = Row({"width": 128}, accuracy=[0.96], their_accuracy=[0.96], speedup=[1.1], equal=[1.2])


def test_of_those_that_come_as_far_the_soonest_is_best() -> None:
    assert best([BEHIND, SLOWER, SOONER]) is SOONER
    assert best([BEHIND, SLOWER]) is SLOWER
    assert best([BEHIND]) is BEHIND  # none does


def test_beside_other_programs_no_ratio_is_kept_and_no_size_is_best() -> None:
    quiet = results([SLOWER, SOONER], None)
    assert [row["equal"] for row in quiet["rows"]] == [[0.8], [1.2]]
    assert quiet["best"] == SOONER.settings
    busy = results([SLOWER, SOONER], "others kept 1.0 of 2 cores busy")
    assert [(row["speedup"], row["equal"]) for row in busy["rows"]] == [(None, None)] * 2
    assert [row["accuracy"] for row in busy["rows"]] == [[0.97], [0.96]]
    assert busy["best"] is None
