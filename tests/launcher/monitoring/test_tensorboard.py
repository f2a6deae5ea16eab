"""Curves as event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import pytest

from dni_async.launcher.monitoring.tensorboard import EventFiles
from tests.launcher.events import scalars
from tests.launcher.told import EPOCH, baseline, decoupled

SECOND = dataclasses.replace(EPOCH, epoch=2, seconds=0.25, test_metrics={"accuracy": 0.875})


def test_every_epoch_stands_in_the_curves(tmp_path: Path) -> None:
    run = decoupled(EPOCH, cosine=-0.25)
    with closing(EventFiles(tmp_path / "tensorboard")) as files:
        files.begin(run)
        run.epochs.append(SECOND)
        files.epoch(run, SECOND)
    curves = scalars(tmp_path / "tensorboard" / "dni")
    told = {tag: [(event.step, event.value) for event in curve] for tag, curve in curves.items()}
    assert told == {
        "accuracy/test": [(1, 0.75), (2, 0.875)],
        "loss/train": [(1, 0.25), (2, 0.25)],
        "loss/test": [(1, 0.5), (2, 0.5)],
        "samples_per_second": [(1, 2000), (2, 4000)],
        "cosine/boundary-0": [(1, -0.25)],
        "relative_error/boundary-0": [(1, 0.75)],
        "norm_ratio/boundary-0": [(1, 0.25)],
    }


def test_time_is_that_of_training_alone(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(EPOCH, SECOND))
    first, second = scalars(tmp_path / "dni")["accuracy/test"]
    assert second.wall_time - first.wall_time == pytest.approx(SECOND.seconds)


def test_each_network_has_curves_of_its_own(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(EPOCH))
        files.begin(baseline(SECOND))
    assert scalars(tmp_path / "baseline").keys() == {
        "accuracy/test", "loss/train", "loss/test", "samples_per_second",
    }  # fmt: skip


def test_what_was_told_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(EPOCH))
        assert len(scalars(tmp_path / "dni")["loss/train"]) == 1


def test_a_loss_of_nothing_is_left_out(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(dataclasses.replace(EPOCH, train_loss=None)))
    assert "loss/train" not in scalars(tmp_path / "dni")
