"""Curves as event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import pytest

from dni_async.launcher.monitoring.tensorboard import EventFiles
from dni_async.launcher.report.curves import Told
from tests.launcher.events import scalars
from tests.launcher.told import EPOCH, baseline, decoupled, plan, point

SECOND = dataclasses.replace(EPOCH, epoch=2, seconds=0.25, test_metrics={"accuracy": 0.875})


def test_every_epoch_stands_in_the_curves(tmp_path: Path) -> None:
    run = decoupled(EPOCH, cosine=-0.25)
    with closing(EventFiles(tmp_path / "tensorboard")) as files:
        files.lay_out(plan(num_train_batches=8, accumulate=2))
        files.begin(run)
        run.epochs.append(SECOND)
        files.epoch(run, SECOND)
    curves = scalars(tmp_path / "tensorboard" / "dni")
    told = {tag: [(event.step, event.value) for event in curve] for tag, curve in curves.items()}
    assert told == {
        "epoch": [(4, 1), (8, 2)],
        "accuracy/test": [(4, 0.75), (8, 0.875)],
        "loss/train": [(4, 0.25), (8, 0.25)],
        "loss/test": [(4, 0.5), (8, 0.5)],
        "samples_per_second": [(4, 2000), (8, 4000)],
        "cosine/boundary-0": [(4, -0.25)],
        "relative_error/boundary-0": [(4, 0.75)],
        "norm_ratio/boundary-0": [(4, 0.25)],
    }


def test_points_stand_at_their_updates_and_seconds_of_training(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        run = decoupled(EPOCH)
        run.told = Told((point(1, 4, seconds=0.5, loss=0.75),))  # of before a resumption
        files.begin(run)
        files.point(run, point(1, 8, seconds=2.0, loss=0.5, rate=0.25))
        files.point(run, point(0, 8, seconds=2.0, busy=0.5, staleness=3.0, cosine=0.25))
    curves = scalars(tmp_path / "dni")
    loss = curves["updates/loss"]
    assert [(event.step, event.value) for event in loss] == [(4, 0.75), (8, 0.5)]
    assert loss[1].wall_time - loss[0].wall_time == pytest.approx(1.5)
    assert {tag: curve[-1].value for tag, curve in curves.items() if curve[-1].step == 8} == {
        "updates/loss": 0.5,
        "updates/learning_rate": 0.25,
        "updates/samples_per_second": 20,
        "updates/busy/stage-0": 0.5,
        "updates/staleness/stage-0": 3,
        "updates/cosine/boundary-0": 0.25,
    }


def test_time_is_that_of_training_alone(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(EPOCH, SECOND))
    first, second = scalars(tmp_path / "dni")["accuracy/test"]
    assert second.wall_time - first.wall_time == pytest.approx(SECOND.seconds)


def test_each_network_has_curves_of_its_own(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(EPOCH))
        run = baseline(SECOND)
        files.begin(run)
        files.point(run, point(0, 4, loss=0.5))
    assert scalars(tmp_path / "baseline").keys() == {
        "epoch", "accuracy/test", "loss/train", "loss/test", "samples_per_second",
        "updates/loss", "updates/samples_per_second",
    }  # fmt: skip


def test_what_was_told_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(EPOCH))
        assert len(scalars(tmp_path / "dni")["loss/train"]) == 1


def test_a_loss_of_nothing_is_left_out(tmp_path: Path) -> None:
    with closing(EventFiles(tmp_path)) as files:
        files.begin(decoupled(dataclasses.replace(EPOCH, train_loss=None)))
    assert "loss/train" not in scalars(tmp_path / "dni")
