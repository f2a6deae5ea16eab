"""Both arms of a row: plain torch as people write it, and four workers."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

import dni_async
from benchmarks.workloads.users.row import Asked, Measured, Scale, Work
from dni_async.errors import ConfigError, DataError

__all__ = ["lockstep_complaints", "measure"]

STAGES = 4
MOMENTUM = 0.9
OF_RULES = ("rule", "window", "anchor_every", "anchor_updates")
ROUNDING = 0.01  # of a test loss
LONGEST_SENTENCE = 600  # characters: more is no sentence


def measure(work: Work, asked: Asked, scale: Scale) -> Measured:
    """Train by plain torch, then by workers from the same weights, and test both networks."""
    torch.manual_seed(scale.seed)
    began = time.perf_counter()
    network = train_plain(work)
    seconds = time.perf_counter() - began
    plain, plain_loss = tested(network, work)
    measured = Measured(scale.seed, plain, plain_loss, seconds)
    try:
        _measure_ours(measured, work)
        if asked.in_lockstep and scale.seed == 0 and not scale.is_quick:
            complaints = lockstep_complaints(work, scale.seed)
            measured.is_exact = not complaints
            measured.complaints += complaints
    except (ConfigError, DataError) as error:
        measured.refused = str(error)
        measured.complaints += _badly_said(str(error), asked)
    except Exception as error:  # a row that fails is a line of the table, not its end
        measured.complaints.append(f"{type(error).__name__}: {_said(error)}")
    return measured


def _measure_ours(measured: Measured, work: Work) -> None:
    began = time.perf_counter()
    with TemporaryDirectory(prefix="dni-bench-") as folder:
        result = _train_ours(work, measured.seed, Path(folder) / "run")
        measured.complaints += work.after(result)
    measured.ours_seconds = time.perf_counter() - began
    measured.ours, measured.ours_loss = tested(result.model, work)
    measured.complaints += _not_as_reported(result.metrics["test_loss"], measured.ours_loss)


def lockstep_complaints(work: Work, seed: int) -> list[str]:
    """Train in lockstep, then by the baseline, and compare all losses to the last bit."""
    settings = {name: value for name, value in work.settings.items() if name not in OF_RULES}
    settings |= {"rule": "backprop", "baseline": True, "threads_per_worker": 1}
    with TemporaryDirectory(prefix="dni-bench-") as folder:
        result = _train_ours(replace(work, settings=settings), seed, Path(folder) / "run")
    ours, baseline, _ = (
        [(epoch["train_loss"], epoch["test_loss"]) for epoch in run["epochs"]]
        for run in result.report["runs"]
    )
    return [] if ours == baseline else [f"in lockstep {ours[-1]}, the baseline {baseline[-1]}"]


def train_plain(work: Work) -> nn.Module:
    """The loop of every tutorial, in one process and one thread."""
    torch.set_num_threads(1)  # as many as a worker has; more make such small networks no faster
    network = work.network()
    optimizer = _optimizer(work, network)
    schedule = LambdaLR(optimizer, lambda update: 1 - update / (work.sinks_over or math.inf))
    for epoch in range(1, work.epochs + 1):
        network.train()
        for inputs, targets in work.batches(epoch):
            optimizer.zero_grad()
            work.loss(network(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network


@torch.no_grad()
def tested(network: nn.Module, work: Work) -> tuple[float, float]:
    """The figure and the mean loss over all test samples."""
    network.eval()
    outputs, targets = [], []
    for inputs, wanted in work.test():
        outputs.append(network(inputs))
        targets.append(wanted)
    made, wanted = torch.cat(outputs), torch.cat(targets)
    return work.figure(made, wanted), float(work.loss(made, wanted))


def _optimizer(work: Work, network: nn.Module) -> torch.optim.Optimizer:
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if work.descent == "sgd":
        return torch.optim.SGD(learning, lr=work.lr, momentum=MOMENTUM)
    return torch.optim.Adam(learning, lr=work.lr)


def _train_ours(work: Work, seed: int, run_dir: Path) -> dni_async.TrainingResult:
    settings: dict[str, Any] = {
        "stages": STAGES,
        "epochs": work.epochs,
        "optimizer": work.descent,
        "lr": work.lr,
        "loss": work.loss,
        "lr_schedule": "linear" if work.sinks_over else "constant",
        "run_dir": run_dir,
        **work.settings,
    }
    if work.descent == "sgd":
        settings["momentum"] = MOMENTUM
    with _limited(work.limit_bytes):
        return dni_async.train(work.network(), work.data(), seed=seed, progress=False, **settings)


@contextmanager
def _limited(size_bytes: int | None) -> Iterator[None]:
    """Processes started in here may hold so much memory of their own; None: as before."""
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    if size_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def _not_as_reported(reported: float, found: float) -> list[str]:
    """A complaint where the network that came back is not the one that was tested."""
    if math.isclose(reported, found, rel_tol=ROUNDING, abs_tol=ROUNDING):
        return []
    return [
        f"a test loss of {reported:.4f} was reported, the network that came back has {found:.4f}"
    ]


def _said(error: Exception) -> str:
    """What a worker died of stands last."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _badly_said(sentence: str, asked: Asked) -> list[str]:
    """What is wrong with what was said in place of training."""
    if not asked.may_refuse:
        return [f"refused: {sentence}"]
    is_one = "\n" not in sentence and len(sentence) <= LONGEST_SENTENCE
    return [] if is_one else [f"refused at length: {sentence[:80]}..."]
