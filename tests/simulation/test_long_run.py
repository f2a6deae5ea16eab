"""What long runs leave: sums, in one file of several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulation.long_run import merge, of_moments, of_seeds


def test_parts_of_a_long_run_come_to_what_the_whole_does(tmp_path: Path) -> None:
    parts = [tmp_path / name for name in ("one.json", "two.json", "moments.json")]
    of_seeds(0, 3, 1, parts[0])
    of_seeds(3, 2, 2, parts[1])
    of_moments("head", 2, 0, 1, parts[2])
    out = tmp_path / "whole.json"
    merge(parts, out)
    whole = json.loads(out.read_text())
    assert whole["seeds"]["scenarios"] == 5
    assert whole["seeds"]["failures"] == 0
    alone = tmp_path / "alone.json"
    of_seeds(0, 5, 1, alone)
    assert whole["seeds"]["totals"] == json.loads(alone.read_text())["totals"]
    assert whole["commits"] == [json.loads(parts[0].read_text())["commit"]]
    assert whole["moments of head"]["scenarios"] >= 2
    with pytest.raises(ValueError, match="seeds from 0 on are there twice"):
        merge([*parts, alone], out)
