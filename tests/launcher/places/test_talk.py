"""A process that is told to go on a line at a time: it answers each, or its end is a sentence."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import pytest

from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.errors import WorkerDied
from dni_async.launcher.places.talk import Talk

MODULE = "dni_async.workers.probe"
JOB: dict[str, Any] = {
    "config": RunConfig(rule="dgl", epochs=2, layers=2, width=8).to_dict(),
    "ranges": [(0, 1), (1, 2)],
    "input_shape": (64,),
    "output_shape": (10,),
    "holds_ids": False,
    "form": dataclasses.asdict(TargetForm(10)),
    "num_updates": 10,
    "epoch_batches": 2,
    "num_threads": 1,
}


def soon() -> float:
    return time.monotonic() + 60


def test_it_answers_line_by_line_and_is_gone_when_it_is_closed() -> None:
    talk = Talk(MODULE, {**JOB, "parent": os.getpid()}, 1)
    try:
        assert talk.hear(0.0) is None
        assert talk.hear(soon()) == {"started": True}
        for part in range(2):
            talk.tell({"part": part})
            answer = talk.hear(soon())
            assert answer is not None
            assert 0 < answer["loss"] < 5
        assert talk.hear(time.monotonic()) is None
        talk.tell({"part": 2})
        assert talk.hear(soon()) == {"failed": "the trial is over"}
        with pytest.raises(WorkerDied, match=r"^dni_async\.workers\.probe ended with code 0$"):
            talk.hear(soon())
    finally:
        talk.close()
    talk.close()


def test_what_it_said_last_is_told_of_one_that_ends() -> None:
    talk = Talk(MODULE, {}, 1)
    try:
        with pytest.raises(WorkerDied, match=r"probe ended with code 1: KeyError: 'parent'$"):
            talk.hear(soon())
    finally:
        talk.close()
