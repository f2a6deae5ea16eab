"""One real worker that predicts its inputs; the test plays its coordinator and the stage below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.data.inputs import Inputs
from dni_async.network.building import build_network
from dni_async.seeding import stage_seed
from dni_async.stage.descent.making import make_optimizer
from dni_async.synthesizers.input_synthesizer import make_input_synthesizer
from dni_async.transport.link import open_outbox
from dni_async.transport.slots.host import can_share_memory
from dni_async.transport.sockets import Poller, Sockets, open_sockets
from dni_async.wire.messages import (
    Activation,
    Failed,
    Hello,
    LinkHello,
    LinkReady,
    Ready,
    ReturnedGradient,
    Start,
    Stop,
    Welcome,
)
from dni_async.wire.tensors import describe
from tests.workers.one_worker import RUN_ID, OneWorker, start_worker

pytestmark = pytest.mark.system
CPU = torch.device("cpu")
BATCH_SIZE, WIDTH = 16, 32


def configured(window: int) -> RunConfig:
    """Two layers; the upper one is the worker's."""
    return RunConfig(
        layers=2, window=window, batch_size=BATCH_SIZE, epochs=50, width=WIDTH,
        targets="bootstrap", unlock="forward",
    )  # fmt: skip


class Head(OneWorker):
    """The head of a run of two stages; stage 0 is the test."""

    def send_activation(self, batch_id: int, hidden: torch.Tensor, labels: torch.Tensor) -> None:
        """As stage 0 would."""
        tensors = [hidden, labels]
        metas = tuple(describe(tensor) for tensor in tensors)
        self.link.send(Activation(RUN_ID, batch_id, 0, "train", False, metas), tensors)

    def returned(self) -> tuple[ReturnedGradient, torch.Tensor]:
        """The next gradient that the stage returned."""
        message, tensors = self.hear_link()
        assert isinstance(message, ReturnedGradient)
        return message, tensors[0]


@pytest.fixture
def head(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Head]:
    """Start stage 1 of a run and shake hands with it; param: the window."""
    with open_sockets() as sockets:
        yield from _start(tmp_path, sockets, request.param)


def _start(folder: Path, sockets: Sockets, window: int) -> Iterator[Head]:
    control = sockets.control_server(f"ipc://{folder}/control")
    poller = Poller()
    poller.watch(control)
    process = start_worker(control.endpoint, 1, folder)
    try:
        link = open_outbox(sockets, f"ipc://{folder}/stage-1")
        poller.watch(link.channel)
        stage = Head(control, link, poller, process, b"stage-1")
        assert stage.hear_control(Hello).endpoint == link.endpoint
        welcome = Welcome(
            run_id=RUN_ID, num_stages=2, first_layer=1, end_layer=2, device="cpu",
            num_threads=1, peer="", weights_path=str(folder / "w.safetensors"),
            input_shape=(64,), holds_ids=False, num_classes=10, num_updates=1000,
            config=configured(window).to_dict(),
        )  # fmt: skip
        control.send(stage.peer, welcome)
        link.send(LinkHello(RUN_ID, 0, window))
        slots = f"{folder}/stage-1.slots" if can_share_memory() else ""
        assert stage.hear_link()[0] == LinkReady(RUN_ID, 1, 0, slots)
        stage.hear_control(Ready)
        control.send(stage.peer, Start(RUN_ID))
        yield stage
        if process.poll() is None:
            control.send(stage.peer, Stop(RUN_ID, "the test is over"))
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        process.close()


@pytest.mark.parametrize("head", [1, 2, 8], indirect=True)
def test_a_stage_trains_a_whole_window_while_nothing_comes_from_below_and_not_one_batch_more(
    head: Head, request: pytest.FixtureRequest
) -> None:
    window = request.node.callspec.params["head"]
    assert head.settled_updates() == window
    assert head.link.receive() is None  # there is nothing to answer
    samples, labels = Inputs.from_config(configured(window)).train_batch(1, 0)
    head.send_activation(0, torch.zeros(len(samples), WIDTH), labels)
    assert head.returned()[0].batch_id == 0
    assert head.settled_updates() == window + 1
    assert head.link.receive() is None


@pytest.mark.parametrize("head", [1], indirect=True)
def test_what_comes_back_is_the_gradient_of_the_synthetic_input(head: Head) -> None:
    """Two batches written out: an update, and a lesson from what the stage below really sent."""
    config = configured(1)
    inputs = Inputs.from_config(config)
    _, layer = build_network(config, (64,), 10)
    torch.manual_seed(stage_seed(config.seed, 1))
    synthesizer = make_input_synthesizer((64,), (WIDTH,), CPU)
    optimizer = make_optimizer(list(layer.named_parameters()), config)
    for batch_id in range(2):
        samples, labels = inputs.train_batch(1, batch_id)
        predicted = synthesizer.predict(samples).requires_grad_()
        functional.cross_entropy(layer(predicted), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.update()
        assert head.settled_updates() == batch_id + 1
        real = torch.randn(len(samples), WIDTH, generator=torch.Generator().manual_seed(batch_id))
        head.send_activation(batch_id, real, labels)
        synthesizer.learn(samples, real)
        message, gradient = head.returned()
        assert message.batch_id == batch_id
        torch.testing.assert_close(gradient, predicted.grad)


@pytest.mark.parametrize("head", [2], indirect=True)
@pytest.mark.parametrize("fault", ["shape", "nan", "twice"])
def test_a_wrong_activation_ends_the_worker_with_its_reason(head: Head, fault: str) -> None:
    samples, labels = Inputs.from_config(configured(2)).train_batch(1, 0)
    hidden = torch.zeros(len(samples), WIDTH - (fault == "shape"))
    if fault == "nan":
        hidden[3, 7] = float("nan")
    assert head.settled_updates() == 2
    head.send_activation(0, hidden, labels)
    if fault == "twice":
        head.send_activation(0, hidden, labels)
    said = {
        "shape": "the activation is [16, 31], but the samples make [16, 32]",
        "nan": "stage 1, batch 0: activation from below is not finite",
        "twice": "stage 0 sent batch 0, which is done",
    }[fault]
    assert said in head.hear_control(Failed).summary
    assert head.process.wait(10) == 1
