"""A process that trains a run for a little, in this process alone, and tells what it has learnt.

The whole line of stages, turn by turn, on training batches of the run's first epoch; others of that
are held back, and tell how well it learns. Reads its job as a line of JSON from standard input, and
then a line for each part of it that is to be trained; answers with one for each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import torch

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data.feed import Feed
from dni_async.data.held_out import HeldOut
from dni_async.data.opening import open_feed
from dni_async.errors import DniError, LinkError
from dni_async.system.answers import keep_for_answers
from dni_async.system.machine import die_with_parent, name_process
from dni_async.wire.messages import Evaluated, Welcome
from dni_async.workers.in_memory import RUN_ID, InMemoryLine, Part
from dni_async.workers.startup.equipment import equip

__all__ = ["Probe", "main"]


class Probe:
    """One such run; see launcher.jobs.rule_choice for its job. Raises what a worker raises.

    The stages take turns, so that a batch is as late as it is where all are equally fast, and their
    windows full where the rule waits for gradients.
    """

    def __init__(self, job: Mapping[str, Any], feed: Feed) -> None:
        config = RunConfig.from_dict(job["config"])
        held_out = HeldOut(feed, batch_size=config.batch_size, epoch_batches=job["epoch_batches"])
        parts = []
        for stage, welcome in enumerate(_welcomes(job, held_out.num_batches[1])):
            with torch.random.fork_rng(devices=[]):
                parts.append(Part(welcome, equip(stage, welcome, config, feed=held_out)))
        self._turns = InMemoryLine(config, parts).turns()

    def go_on(self) -> dict[str, float]:
        """Train for an epoch of the trial; the loss on what is held back, and seconds of it all.

        Raises what a worker raises, LinkError where there is nothing more.
        """
        began = time.perf_counter()
        for _, message in self._turns:
            if isinstance(message, Evaluated):
                return {"loss": message.loss, "seconds": time.perf_counter() - began}
        raise LinkError("the trial is over")


def _welcomes(job: Mapping[str, Any], num_test_batches: int) -> Iterator[Welcome]:
    """What a coordinator would tell each stage."""
    form = TargetForm.from_dict(job["form"])
    for first, end in job["ranges"]:
        yield Welcome(
            run_id=RUN_ID,
            num_stages=len(job["ranges"]),
            first_layer=first,
            end_layer=end,
            device="cpu",
            num_threads=job["num_threads"],
            peer="",
            weights_path="",
            input_shape=tuple(job["input_shape"]),
            holds_ids=job["holds_ids"],
            num_classes=form.num_classes,
            num_updates=job["num_updates"],
            config=job["config"],
            target_shape=(1, *form.shape),
            target_dtype=form.dtype,
            has_ignored=form.ignored is not None,
            output_shape=(1, *job["output_shape"]),
            num_test_batches=num_test_batches,
        )


def main() -> None:
    """The process. What ends a run that it can name is its last answer."""
    job, answer = json.loads(sys.stdin.readline()), keep_for_answers()
    die_with_parent(job["parent"])
    name_process("dni-probe")
    config = RunConfig.from_dict(job["config"])
    try:
        with closing(open_feed(config, form=TargetForm.from_dict(job["form"]))) as feed:
            probe = Probe(job, feed)
            answer({"started": True})
            for _ in sys.stdin:
                answer(probe.go_on())
    except DniError as error:
        answer({"failed": f"{error}".splitlines()[0]})
    os._exit(0)  # torch's own threads take their time to end
