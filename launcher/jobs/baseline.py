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
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from dni_async.config.run_config import RunConfig
from dni_async.data import load_dataset
from dni_async.data.inputs import Inputs
from dni_async.launcher.report.results import EpochResult
from dni_async.network.building import build_network, layer_starts
from dni_async.stage.compilation import compile_layers, warm_up
from dni_async.stage.draws import Draws
from dni_async.stage.dtypes import AUTOCAST_DTYPES
from dni_async.stage.optimizers import make_optimizer
from dni_async.stage.rates import make_rate_factor
from dni_async.stage.stage import Score, Stage, add_scores, prepare_torch, score
from dni_async.system import die_with_parent, name_process

__all__ = ["main", "train"]

Report = Callable[[EpochResult], None]


def train(
    config: RunConfig, device: torch.device, started: Callable[[], None], report: Report
) -> nn.Sequential:
    """Train and return the network.

    Calls started() when all is built and report(epoch) after each epoch that ends with a test.
    Raises NonFiniteError before a non-finite loss is applied.
    """
    folder = None if config.data_dir is None else Path(config.data_dir)
    dataset = load_dataset(config.data, folder)
    inputs = Inputs(dataset, batch_size=config.batch_size, seed=config.seed)
    network = build_network(config, dataset.input_shape, dataset.num_classes).to(device)
    whole = Stage(
        0,
        network,
        make_optimizer(network.parameters(), config),
        autocast=AUTOCAST_DTYPES[config.dtype],
        compiled=compile_layers(network, device) if config.compile else None,
        rate_factor=make_rate_factor(config, config.epochs * inputs.num_train_batches),
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        draws=Draws(config.seed, 0, layer_starts(network)),
        checks_gradients=False,  # its loss is checked, as in any plain loop
    )
    if config.compile:
        warm_up(whole, inputs.train_batch(1, 0)[0].to(device), has_below=False)
    started()
    seconds, loss_sum, num_samples = 0.0, 0.0, 0
    for epoch in range(1, config.epochs + 1):
        first_id = (epoch - 1) * sum(inputs.num_batches)  # as in the schedule: draws go by it
        began = time.perf_counter()
        for index in range(inputs.num_train_batches):
            x, y = (tensor.to(device) for tensor in inputs.train_batch(epoch, index))
            batch_id = first_id + index
            whole.forward(batch_id, x, needs_input_gradient=False)
            value, gradient = whole.loss_gradient(batch_id, y)
            whole.update(batch_id, gradient, source="loss gradient")
            loss_sum += value * len(y)
        num_samples += inputs.num_train
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds += time.perf_counter() - began
        if config.tested_at(epoch) != epoch:
            continue
        tested = _test(whole, inputs, device)
        accuracy = tested.num_correct / tested.num_samples
        report(
            EpochResult(
                epoch=epoch,
                seconds=seconds,
                train_loss=loss_sum / num_samples,
                test_accuracy=accuracy,
                test_loss=tested.loss_sum / tested.num_samples,
                num_samples=num_samples,
            )
        )
        seconds, loss_sum, num_samples = 0.0, 0.0, 0
        if config.ends_at(accuracy):
            break
    return network


def _test(whole: Stage, inputs: Inputs, device: torch.device) -> Score:
    scores = []
    for index in range(inputs.num_test_batches):
        x, y = (tensor.to(device) for tensor in inputs.test_batch(index))
        scores.append(score(whole.evaluate(x), y))
    return add_scores(scores)


def main() -> None:
    """The process: job on standard input, epochs on standard output, weights where asked."""
    job = json.load(sys.stdin)
    die_with_parent(job["parent"])
    name_process("dni-baseline")
    config = RunConfig.from_dict(job["config"])
    prepare_torch(job["num_threads"])

    def started() -> None:
        print(json.dumps({"started": True}), flush=True)

    def report(epoch: EpochResult) -> None:
        print(json.dumps(asdict(epoch)), flush=True)

    network = train(config, torch.device(job["device"]), started, report)
    if job.get("weights_path"):
        import safetensors.torch

        weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
        safetensors.torch.save_file(weights, job["weights_path"])
    sys.stdout.flush()
    os._exit(0)  # torch's own threads take their time to end
