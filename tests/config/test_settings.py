"""Settings, each declared once: what is said of them is whole, and holds."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

from dni_async import ConfigError, RunConfig
from dni_async.config.names import MODELS, SYNTHESIZERS
from dni_async.config.settings import CHOICES, RESUMABLE, SETTINGS
from dni_async.decisions.rules import RULES
from tests.structure import ROOT

every_setting = pytest.mark.parametrize("name", SETTINGS)

# Values that a setting's own check refuses, for every setting that has one.
OUTSIDE: dict[str, list[Any]] = {
    **{name: [0, -1] for name in ("layers", "width", "epochs", "evaluate_every", "batch_size")},
    "updates_per_epoch": [0, -1],
    "rebalance": ["maybe"],
    "moves": [("500",), ("500:4+",), ("500:0+4",), ("x:4+4",)],
    **{name: [0] for name in ("accumulate", "replay_batches", "replay_limit", "keep_checkpoints")},
    **{name: [0] for name in ("stages", "threads_per_worker", "synthesizer_width")},
    **{name: [-1] for name in ("anchor_every", "warmup_updates", "max_restarts", "log_every")},
    "torch_profiler": [-1],
    **{name: [-1] for name in ("synthesizer_layers", "synthesizer_pool", "synthesizer_warmup")},
    **{name: [0.0, math.inf, math.nan] for name in ("lr", "synthesizer_lr", "synthesizer_scale")},
    **{name: [0.0, -1.0] for name in ("synthesizer_clip", "clip_norm", "start_timeout_s")},
    **{name: [0.0, math.inf] for name in ("join_timeout_s", "silent_after_s")},
    **{name: [0.0, 1.1] for name in ("gradient_shrink", "update_probability")},
    **{name: [-0.1, math.inf] for name in ("weight_decay", "staleness_power", "stuck_after_s")},
    "label_smoothing": [-0.1, 1.1],
    "target": [math.inf, math.nan],
    "patience": [0],
    "momentum": [-0.1, 1.0],
    "seed": [-1, 2**31],
    "window": [0, "wide"],
    "mlflow": ["", " "],
    "wandb": [""],
    "metrics_port": [-1, 2**16],
    "dashboard_port": [-1, 2**16],
    "dashboard_url": ["127.0.0.1:80", "ftp://host/", "http://host/?a"],
    "checkpoint_every": ["often", "0s", "1.5"],
    **{name: ["none of them", "a:b:c", ":b"] for name in ("loss", "model", "rule", "synthesizer")},
    **{name: ["none of them", "a:b:c", ":b"] for name in ("optimizer", "lr_schedule")},
    **{name: ["none of them", ""] for name in CHOICES},
}


@every_setting
def test_a_setting_says_what_it_is_for_and_where_its_default_comes_from(name: str) -> None:
    said = SETTINGS[name].said
    assert said.help.endswith(".")
    assert said.why
    assert not said.why.endswith("."), "a reason, no sentence"
    pages = {page.name[:4] for page in (ROOT / "docs/decisions").glob("[0-9]*.md")}
    assert set(re.findall(r"\b0\d{3}\b", said.why)) <= pages


def test_settings_are_the_fields_of_a_config_in_their_order() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    assert {name: each.default for name, each in SETTINGS.items()} == fields
    assert list(SETTINGS) == list(fields) == list(RunConfig().to_dict())


def test_a_newcomer_sees_ten_settings_first() -> None:
    assert sum(each.said.starts_here for each in SETTINGS.values()) == 10


def test_every_check_has_a_value_that_it_refuses() -> None:
    checked = {name for name, each in SETTINGS.items() if each.choices or each.said.check}
    assert checked == OUTSIDE.keys()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OUTSIDE.items() for value in values]
)
def test_a_value_out_of_range_is_named_with_what_is_needed(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig(**{name: value})
    need = SETTINGS[name].said.check
    words = f"one of {', '.join(CHOICES[name])}" if name in CHOICES else need.need  # type: ignore[union-attr]
    assert str(error.value) == f"{name}: must be {words}, but is {value!r}"


@every_setting
def test_a_default_is_in_range(name: str) -> None:
    SETTINGS[name].check(SETTINGS[name].default)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_is_taken(name: str) -> None:
    for choice in CHOICES[name]:
        SETTINGS[name].check(choice)


@pytest.mark.parametrize(
    ("name", "known"), [("rule", RULES), ("synthesizer", SYNTHESIZERS), ("model", MODELS)]
)
def test_names_are_those_of_their_table(name: str, known: dict[str, object]) -> None:
    for value in [*known, "package.module:thing"]:
        SETTINGS[name].check(value)
    assert set(known) <= set(SETTINGS[name].said.metavar.split("|"))


def test_what_may_be_set_anew_says_nothing_of_what_is_learnt() -> None:
    """Groups that only learning depends on: nothing of them, but how long it goes on."""
    of_learning = ("The network", "How it learns", "How a stage gets its gradient")
    of_learning += ("What predicts gradients",)
    assert {n for n in RESUMABLE if SETTINGS[n].group in of_learning} == {"epochs"}
