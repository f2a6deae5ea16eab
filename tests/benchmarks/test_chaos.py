"""A run with deaths is held against what is promised of them, and what is not kept is said."""

from __future__ import annotations

import dataclasses

from benchmarks.chaos import Kept, kept_of
from dni_async.config.run_config import RunConfig
from dni_async.launcher.report.results import EpochResult, RestartResult

CONFIG = RunConfig(data="digits", layers=2, epochs=3, batch_size=8, window=2)
DEATHS = (RestartResult(0, "killed", 1.0), RestartResult(1, "killed", 2.0))


def epoch(number: int, num_samples: int) -> EpochResult:
    return EpochResult(number, 1.0, 0.5, 0.5, {"accuracy": 0.9}, num_samples)


EPOCHS = (epoch(1, 48), epoch(2, 30), epoch(3, 64))


def kept(epochs: tuple[EpochResult, ...], checkpoint: str = "") -> Kept:
    return kept_of(CONFIG, epochs, DEATHS, num_train=64, head=1, checkpoint=checkpoint)


def test_a_head_may_take_the_sums_of_an_epoch_with_it_and_all_deaths_what_was_in_flight() -> None:
    found = kept(EPOCHS)
    assert (found.samples_short, found.samples_in_flight) == (16 + 34, 16)
    assert found.most == 2 * 2 * 8 * 2
    assert found.broken == []


def test_what_is_not_kept_is_said() -> None:
    assert kept(EPOCHS[1:]).broken == ["epochs [1] are missing"]
    assert kept((EPOCHS[1], EPOCHS[0], EPOCHS[2])).broken == ["epochs [2, 1, 3] are missing"]
    lost = [dataclasses.replace(each, test_metrics={}) for each in EPOCHS]
    assert kept((*EPOCHS[:2], lost[2])).broken == []  # it died with the head
    assert kept((EPOCHS[0], *lost[1:])).broken == ["figures of epochs [2, 3] are lost"]
    assert kept(EPOCHS, "it is damaged").broken == ["checkpoint: it is damaged"]
    assert kept((epoch(1, 0), epoch(2, 0), epoch(3, 0))).broken == ["128 samples, 64 at most"]
