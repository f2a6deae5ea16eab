"""The same network in one process by plain backpropagation, to compare with.

Same initial weights, same batches in the same order, same fused optimizer kernels, the same lean
passes over linear layers, denormals flushed as in the workers: all that makes a stage fast makes
the baseline fast. Reads its job as JSON from standard input, writes one JSON line per epoch to
standard output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data.feed import Feed
from dni_async.data.opening import open_feed
from dni_async.decisions.curve import Curve, updates_between_points
from dni_async.decisions.goal import Outlook
from dni_async.launcher.report.results import EpochResult
from dni_async.network.building import build_network, layer_starts
from dni_async.stage.compilation import warm_up
from dni_async.stage.draws import Draws
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.losses.metrics.examination import Examination, Measured, make_examination
from dni_async.stage.making import make_stage
from dni_async.stage.stage import Stage
from dni_async.stage.threads import prepare_torch
from dni_async.stage.values import Hidden, each, gathered
from dni_async.system import output
from dni_async.system.answers import keep_for_answers
from dni_async.system.machine import die_with_parent, name_process
from dni_async.wire.points import Point

__all__ = ["main", "train"]

Report = Callable[[EpochResult], None]
Tell = Callable[[int, Sequence[Point]], None]
TELL_S = 0.25  # between two words on how far it is


def train(
    config: RunConfig,
    device: torch.device,
    started: Callable[[], None],
    report: Report,
    *,
    tell: Tell = lambda num_batches, points: None,
    output_shape: tuple[int, ...] | None = None,
    known: tuple[tuple[int, ...], TargetForm] | None = None,
    last_epoch: int | None = None,
) -> nn.Sequential:
    """Train and return the network.

    output_shape: of one sample, where the network is the user's own. known: shape of one
    sample and form of the targets; None where that is for the data to say. last_epoch: after which
    it ends, though its settings say more; one of those that end with a test.
    Calls started() when all is built, tell(num_batches, points) a few times a second and before
    each test with what has been trained so far and the points of its curve since then, and
    report(epoch) after each epoch that ends with a test.
    Raises NonFiniteError before a non-finite loss is applied.
    """
    with closing(open_feed(config, form=known and known[1], fetches="ahead")) as feed:
        input_shape, form = known or (feed.facts.input_shape, feed.facts.form)
        network = build_network(config, input_shape, form.output_shape).to(device)
        whole = make_stage(
            network,
            config,
            run_loss(config, form, output_shape),
            num_batches=config.epochs * feed.num_batches[0],
            draws=Draws(config.seed, 0, layer_starts(network)),
            checks_gradients=False,  # its loss is checked, as in any plain loop
        )
        if config.compile:
            warm_up(whole, feed.train_batch(1, 0)[0])
        examination = make_examination(config, whole.loss)
        num_updates = config.epochs * feed.num_batches[0] // config.accumulate
        every = updates_between_points(config.log_every, num_updates)
        line = _Line(
            whole, feed, device, examination, _Learnt(Curve(every), config.accumulate, tell)
        )
        started()
        trained, outlook = _Trained(), Outlook(config.goal)
        for epoch in range(1, config.epochs + 1):
            line.train(epoch, trained)
            if config.tested_at(epoch) != epoch:
                continue
            line.learnt.say(epoch * feed.num_batches[0])  # a test may take long
            result = _result(epoch, trained, line.test())
            report(result)
            figure = config.goal.figure(result.test_loss, result.test_metrics)
            if outlook.hear(epoch, figure) or epoch == last_epoch:
                break
            trained = _Trained()
        return network


@dataclass(slots=True)
class _Trained:
    """What has been done since the last test."""

    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    num_samples: int = 0


@dataclass(slots=True)
class _Learnt:
    """What is told within an epoch: how far it is, and the curve of the loss."""

    curve: Curve
    accumulate: int
    tell: Tell
    began: float = 0.0  # by a clock that evaluation does not move on
    since: float = 0.0  # the point before
    told: float = 0.0

    def begin(self) -> None:
        """Training begins, or goes on behind a test, in which no time has passed."""
        self.began += time.perf_counter()

    def learn(self, done: int, num_samples: int, rate: float) -> None:
        """The batch is the done-th that has been learnt from."""
        now = time.perf_counter() - self.began
        updates = done // self.accumulate
        if self.curve.reach(updates, num_samples):
            self.curve.add(updates, now - self.since, rate=rate)
            self.since = now
        if now - self.told > TELL_S:
            self.told = now
            self.say(done)

    def say(self, done: int) -> None:
        """Tell of all so far."""
        self.tell(done, self.curve.take())

    def end(self) -> None:
        """Training pauses."""
        self.began -= time.perf_counter()


@dataclass(frozen=True, slots=True)
class _Line:
    """The whole network as one stage, with the data that pass it."""

    whole: Stage
    feed: Feed
    device: torch.device
    examination: Examination
    learnt: _Learnt

    def train(self, epoch: int, trained: _Trained) -> None:
        """One epoch, counted in trained."""
        began = time.perf_counter()
        self.learnt.begin()
        num_batches = self.feed.num_batches
        first_id = (epoch - 1) * sum(num_batches)  # as in the schedule: draws go by it
        for index in range(num_batches[0]):
            x, y = self._on_device(self.feed.train_batch(epoch, index))
            batch_id = first_id + index
            self.whole.forward(batch_id, x, needs_input_gradient=False)
            value, gradient = self.whole.loss_gradient(batch_id, y)
            self.whole.update(batch_id, gradient, source="loss gradient")
            weight = self.whole.loss.weight(y)
            trained.loss_sum += value * weight
            trained.loss_weight += weight
            trained.num_samples += len(y)
            self.learnt.curve.add_loss(value, weight)
            done = (epoch - 1) * num_batches[0] + index + 1
            self.learnt.learn(done, len(y), self.whole.updates.rate)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        trained.seconds += time.perf_counter() - began
        self.learnt.end()

    def test(self) -> Measured:
        """On all test samples."""
        for index in range(self.feed.num_batches[1]):
            x, y = self._on_device(self.feed.test_batch(index))
            outputs = self.whole.evaluate(x)
            assert isinstance(outputs, torch.Tensor)
            self.examination.add(outputs, y)
        return self.examination.take()

    def _on_device(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[Hidden, torch.Tensor]:
        """As the workers do it: by way of pinned memory, without a wait for the copy."""
        x, y = batch
        if self.device.type == "cpu":
            return x, y
        return each(gathered(x), self._moved), self._moved(y)

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.pin_memory().to(self.device, non_blocking=True)


def _result(epoch: int, trained: _Trained, measured: Measured) -> EpochResult:
    return EpochResult(
        epoch=epoch,
        seconds=trained.seconds,
        train_loss=trained.loss_sum / trained.loss_weight if trained.loss_weight else None,
        test_loss=measured.loss,
        test_metrics=measured.metrics,
        num_samples=trained.num_samples,
    )


def main() -> None:
    """The process: job on standard input, epochs on standard output, weights where asked."""
    job, answer = json.load(sys.stdin), keep_for_answers()
    die_with_parent(job["parent"])
    name_process("dni-baseline")
    config = RunConfig.from_dict(job["config"])
    prepare_torch(job["num_threads"])

    def started() -> None:
        answer({"started": True})

    def report(epoch: EpochResult) -> None:
        answer(asdict(epoch))

    def tell(num_batches: int, points: Sequence[Point]) -> None:
        answer({"trained": num_batches, "points": [asdict(point) for point in points]})

    network = train(
        config,
        torch.device(job["device"]),
        started,
        report,
        tell=tell,
        output_shape=tuple(job["output_shape"]),
        known=(tuple(job["input_shape"]), TargetForm.from_dict(job["form"])),
        last_epoch=job["last_epoch"],
    )
    if job.get("weights_path"):
        import safetensors.torch

        weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
        safetensors.torch.save_file(weights, job["weights_path"])
    output.flush()
    os._exit(0)  # torch's own threads take their time to end
