"""What --rule auto chooses among: each goes with the rest of the run, and with no other."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.config.candidates import CANDIDATES, candidates_of
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError

ALL = [candidate.name for candidate in CANDIDATES]


def test_the_first_is_the_default_and_all_else_is_as_asked() -> None:
    asked = RunConfig(rule="auto", lr=0.02, window=3)
    found = candidates_of(asked)
    assert list(found) == ALL
    assert found[ALL[0]] == RunConfig(lr=0.02, window=3)
    assert {config.lr for config in found.values()} == {0.02}


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({"synthesizer": "linear"}, {"dni with copies", "dni with longer copies", "dgl"}),
        ({"synthesizer": "copy"}, {"dni with copies"}),
        ({"unlock": "forward"}, {"fdg"}),
        ({"when_full": "skip"}, {"fdg"}),
    ],
    ids=["linear", "copy", "unlock", "skip"],
)
def test_what_does_not_go_with_the_rest_or_is_there_already_is_left_out(
    settings: dict[str, Any], left_out: set[str]
) -> None:
    found = candidates_of(RunConfig(rule="auto", **settings))
    assert set(ALL) - set(found) == left_out
    for config in found.values():
        assert {name: getattr(config, name) for name in settings} == settings


def test_until_it_is_chosen_the_rule_is_that_of_the_default() -> None:
    assert RunConfig(rule="auto").rule_traits == RunConfig().rule_traits
    with pytest.raises(ConfigError, match="label_conditioning: the critic is a classifier"):
        RunConfig(rule="auto", label_conditioning=False)
