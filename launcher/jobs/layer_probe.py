"""Measures the layers of a network in a process of its own, before the workers start.

Reads its job as JSON from standard input and writes one JSON line to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from dataclasses import asdict

import torch

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data.opening import open_feed
from dni_async.launcher.jobs.layer_costs import layer_costs
from dni_async.network.building import build_network
from dni_async.stage.losses.catalog import run_loss
from dni_async.stage.threads import prepare_torch
from dni_async.system.answers import keep_for_answers

__all__ = ["main"]


def main() -> None:
    """The process: what each layer takes for one batch of the run on its first device."""
    job, answer = json.load(sys.stdin), keep_for_answers()
    config = RunConfig.from_dict(job["config"])
    prepare_torch(job["num_threads"])
    device = torch.device(job["device"])
    form = TargetForm.from_dict(job["form"])
    with closing(open_feed(config, form=form, fetches="here")) as feed:
        x, y = feed.train_batch(1, 0)
    network = build_network(config, tuple(job["input_shape"]), form.output_shape).to(device)
    outputs = tuple(job["output_shape"])
    loss = run_loss(config, form, outputs)
    costs = layer_costs(network, x.to(device), y.to(device), config, loss, output_shape=outputs)
    answer({"costs": [asdict(cost) for cost in costs]})
    os._exit(0)  # torch's own threads take their time to end
