"""One real worker process; the test plays its coordinator and the stage above it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dni_async.config.run_config import RunConfig
from dni_async.transport.link import Link, open_inbox
from dni_async.transport.sockets import Poller, Sockets, open_sockets
from dni_async.wire.messages import (
    Activation,
    BoundaryEpoch,
    CoordinatorMessage,
    Credit,
    Drain,
    EpochEntered,
    Failed,
    Hello,
    LinkHello,
    LinkReady,
    Marker,
    Message,
    NeighbourReplaced,
    Ready,
    ReturnedGradient,
    Start,
    Stop,
    Welcome,
)
from dni_async.wire.tensors import describe
from tests.workers.one_worker import RUN_ID, OneWorker, start_worker

pytestmark = pytest.mark.system


class Stage0(OneWorker):
    """The source of a run of two stages; stage 1 is the test."""

    @property
    def above(self) -> Link:
        """The link to stage 1."""
        return self.link

    def activation(self) -> tuple[Activation, list[torch.Tensor]]:
        """The next activation that the stage sent up."""
        message, tensors = self.hear_link()
        assert isinstance(message, Activation)
        return message, tensors


@pytest.fixture
def stage0(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage0]:
    """Start stage 0 of a run and shake hands with it; param: the window."""
    with open_sockets() as sockets:
        yield from _start(tmp_path, sockets, request.param, Start(RUN_ID))


@pytest.fixture
def drained0(tmp_path: Path) -> Iterator[Stage0]:
    """The same stage, as a run is ending early in which it takes another one's place."""
    with open_sockets() as sockets:
        yield from _start(tmp_path, sockets, 2, Drain(RUN_ID), Start(RUN_ID))


def _start(
    folder: Path, sockets: Sockets, window: int, *words: CoordinatorMessage
) -> Iterator[Stage0]:
    control = sockets.control_server(f"ipc://{folder}/control")
    above = open_inbox(sockets, f"ipc://{folder}/stage-1")
    poller = Poller()
    poller.watch(control)
    poller.watch(above.channel)
    process = start_worker(control.endpoint, 0, folder)
    try:
        stage = Stage0(control, above, poller, process, b"stage-0")
        hello = stage.hear_control(Hello)
        assert (hello.run_id, hello.stage, hello.pid) == (RUN_ID, 0, process.pid)
        config = RunConfig(
            layers=2, window=window, batch_size=16, epochs=50, width=32, targets="bootstrap"
        )
        welcome = Welcome(
            run_id=RUN_ID, num_stages=2, first_layer=0, end_layer=1, device="cpu",
            num_threads=1, peer=above.endpoint, weights_path=str(folder / "w.safetensors"),
            input_shape=(64,), holds_ids=False, num_classes=10, num_updates=1000,
            config=config.to_dict(),
        )  # fmt: skip
        control.send(stage.peer, welcome)
        link_hello: list[Message] = []

        def greeted() -> bool:
            received = above.receive()
            if received is not None:
                link_hello.append(received[0])
            return bool(link_hello)

        stage.wait(greeted, "no LinkHello")
        assert link_hello == [LinkHello(RUN_ID, 0, window)]
        above.send(LinkReady(RUN_ID, 1))
        stage.hear_control(Ready)
        for word in words:
            control.send(stage.peer, word)
        yield stage
        if process.poll() is None:
            control.send(stage.peer, Stop(RUN_ID, "the test is over"))
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        process.close()


@pytest.mark.parametrize("stage0", [1, 2, 8], indirect=True)
def test_a_stage_updates_a_whole_window_ahead_and_not_one_batch_further(
    stage0: Stage0, request: pytest.FixtureRequest
) -> None:
    """The stage above answers nothing at all: no gradient, no credit."""
    window = request.node.callspec.params["stage0"]
    versions = [stage0.activation()[0].version for _ in range(window)]
    assert versions == list(range(window))  # each sent before the update it leads to
    assert stage0.settled_updates() == window  # all applied, without any gradient
    assert stage0.above.receive() is None  # and the window is never exceeded
    assert stage0.progress is not None
    assert stage0.progress.counters.window.max_pending == window


@pytest.mark.parametrize("stage0", [2], indirect=True)
def test_each_credit_admits_exactly_one_more_batch(stage0: Stage0) -> None:
    first, _ = stage0.activation()
    second, _ = stage0.activation()
    assert stage0.settled_updates() == 2
    stage0.above.send(Credit(RUN_ID, (second.batch_id,)))  # in any order
    third, _ = stage0.activation()
    assert third.batch_id == second.batch_id + 1
    assert third.version == 2
    assert stage0.settled_updates() == 3
    assert stage0.above.receive() is None
    stage0.above.send(Credit(RUN_ID, (first.batch_id,)))
    assert stage0.activation()[0].batch_id == third.batch_id + 1


@pytest.mark.parametrize("stage0", [2], indirect=True)
def test_a_late_gradient_frees_its_place_and_shows_its_staleness(stage0: Stage0) -> None:
    message, (hidden, _) = stage0.activation()
    stage0.activation()
    assert stage0.settled_updates() == 2
    gradient = torch.ones_like(hidden)
    stage0.above.send(
        ReturnedGradient(RUN_ID, message.batch_id, 0, True, (describe(gradient),)), [gradient]
    )
    stage0.activation()
    stage0.settled_updates()
    assert stage0.progress is not None
    staleness = stage0.progress.counters.staleness
    assert staleness.max_staleness == 2  # made at version 0, learnt from at version 2


@pytest.mark.parametrize("stage0", [2], indirect=True)
def test_an_epoch_ends_with_what_its_gradients_told(stage0: Stage0) -> None:
    num_batches = 0
    by_label = torch.randn(10, 32, generator=torch.Generator().manual_seed(0))
    while True:
        message, tensors = stage0.hear_link()
        if not isinstance(message, Activation):
            break
        num_batches += 1
        gradient = by_label.mean(0) - by_label[tensors[1]]
        stage0.above.send(
            ReturnedGradient(RUN_ID, message.batch_id, 0, True, (describe(gradient),)), [gradient]
        )
    assert isinstance(message, Marker)
    assert (message.kind, message.epoch, message.next_batch_id) == ("trained", 1, num_batches)
    stage0.above.send(message)
    told = stage0.hear_control(BoundaryEpoch)
    assert (told.stage, told.epoch, told.num_gradients) == (0, 1, num_batches)
    assert 0.1 < told.cosine < 1  # the critic's correction learns what depends on labels
    assert told.relative_error > 0
    assert told.norm_ratio > 0
    assert 1 <= told.staleness_median <= told.staleness_max <= 2


@pytest.mark.parametrize("stage0", [1], indirect=True)
@pytest.mark.parametrize("fault", ["shape", "batch", "run", "nan", "bytes"])
def test_a_wrong_gradient_ends_the_worker_with_its_reason(stage0: Stage0, fault: str) -> None:
    message, (hidden, _) = stage0.activation()
    gradient = torch.ones_like(hidden)
    answer = ReturnedGradient(RUN_ID, message.batch_id, 0, True, (describe(gradient),))
    said = {
        "shape": "gradient [[16, 31]], needs [[16, 32]]",
        "batch": "not in hand",
        "run": "message of another run",
        "nan": "stage 0, batch 0: returned gradient is not finite",
        "bytes": "header is not msgpack",
    }[fault]
    if fault == "shape":
        gradient = gradient[:, :31].contiguous()
        answer = replace(answer, tensors=(describe(gradient),))
    elif fault == "batch":
        answer = replace(answer, batch_id=99)
    elif fault == "run":
        answer = replace(answer, run_id="another")
    elif fault == "nan":
        gradient[3, 7] = float("nan")
    if fault == "bytes":
        stage0.above.channel.send([b"\xc1garbage"])
    else:
        stage0.above.send(answer, [gradient])
    failed = stage0.hear_control(Failed)
    assert said in failed.summary
    assert stage0.process.wait(10) == 1


@pytest.mark.parametrize("stage0", [2], indirect=True)
def test_a_new_stage_above_gets_the_batches_that_come_next(stage0: Stage0, tmp_path: Path) -> None:
    """Those that were in flight are given up, and both places are free."""
    assert [stage0.activation()[0].batch_id for _ in range(2)] == [0, 1]
    with open_sockets() as sockets:
        stage0.link = open_inbox(sockets, f"ipc://{tmp_path}/stage-1.1")
        stage0.poller.watch(stage0.link.channel)
        replaced = NeighbourReplaced(RUN_ID, "above", 1, stage0.link.endpoint)
        stage0.control.send(stage0.peer, replaced)
        assert stage0.hear_link()[0] == LinkHello(RUN_ID, 0, 2)
        stage0.link.send(LinkReady(RUN_ID, 1))
        assert stage0.hear_link()[0] == EpochEntered(RUN_ID, 0)  # it keeps no word of an epoch
        assert [stage0.activation()[0].batch_id for _ in range(2)] == [2, 3]
        assert stage0.settled_updates() == 4
        assert stage0.link.receive() is None
        stage0.link.send(LinkReady(RUN_ID, 1))  # once for each link
        assert "LinkReady came from above" in stage0.hear_control(Failed).summary
    assert stage0.process.wait(10) == 1


def test_a_source_that_is_told_to_end_before_it_begins_does_nothing_else(drained0: Stage0) -> None:
    first, _ = drained0.hear_link()
    assert (type(first), getattr(first, "kind", "")) == (Marker, "stop")
