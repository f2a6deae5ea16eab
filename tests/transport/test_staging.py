"""What travels for an activation or gradient, and what comes out at the other end of a link."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dni_async.stage.dtypes import WIRE_DTYPES
from dni_async.transport.link import Link, open_inbox, open_outbox
from dni_async.transport.sockets import Poller, open_sockets
from dni_async.transport.staging import Staging
from dni_async.wire.messages import Activation
from dni_async.wire.quantising import quantise

PATIENCE_S = 10.0
SHAPE = (128, 256)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[tuple[Link, Link]]:
    """Both ends of a link without shared memory, lower first."""
    with open_sockets() as sockets:
        upper = open_inbox(sockets, f"ipc://{tmp_path}/s")
        yield open_outbox(sockets, upper.endpoint), upper


def hidden() -> torch.Tensor:
    """An activation after ReLU."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).relu()


def carry(ends: tuple[Link, Link], staging: Staging, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as it arrives."""
    lower, upper = ends
    metas, inline = lower.put(7, staging.for_link(lower, 7, tensor))
    lower.send(Activation("run", 7, 0, "train", False, metas), inline)
    poller = Poller()
    poller.watch(upper.channel)
    deadline = time.monotonic() + PATIENCE_S
    while (received := upper.receive()) is None:
        assert time.monotonic() < deadline, "nothing came"
        poller.wait(PATIENCE_S)
    return staging.from_link(received[1])


@pytest.mark.parametrize(
    ("name", "share", "error"),
    [("same", 1.0, 0.0), ("bf16", 0.5, 2**-8), ("fp16", 0.5, 2**-10), ("int8", 0.25, None)],
)
def test_a_wire_dtype_saves_bytes_and_gives_float32_back(
    link: tuple[Link, Link], name: str, share: float, error: float | None
) -> None:
    tensor = hidden()
    arrived = carry(link, Staging("cpu", wire_dtype=WIRE_DTYPES[name]), tensor)
    assert (arrived.dtype, arrived.shape) == (torch.float32, tensor.shape)
    if error is None:
        unit = tensor.amax(1, keepdim=True) / 127
        assert ((arrived - tensor).abs() <= 0.5001 * unit).all()
    else:
        assert ((arrived - tensor).abs() <= error * tensor).all()
    scales = 4 * len(tensor) if name == "int8" else 0
    assert share * tensor.nbytes + scales <= link[0].frame_bytes
    assert link[0].frame_bytes < share * tensor.nbytes + scales + 200


def test_what_a_batch_is_rounded_to_depends_on_seed_and_batch_alone(
    link: tuple[Link, Link],
) -> None:
    """So a resumed run goes on as the one before would have."""
    tensor = hidden()

    def rounded(staging: Staging, batch_id: int) -> torch.Tensor:
        return staging.for_link(link[0], batch_id, tensor)[0]

    one, same, other = (
        Staging("cpu", wire_dtype=torch.int8, rounding_seed=seed) for seed in (1, 1, 2)
    )
    first = rounded(one, 0)
    rounded(one, 1)
    assert torch.equal(rounded(one, 0), first)
    assert torch.equal(rounded(same, 0), first)
    assert not torch.equal(rounded(other, 0), first)
    assert not torch.equal(rounded(one, 5), first)
    nearest = Staging("cpu", wire_dtype=torch.int8)
    assert torch.equal(rounded(nearest, 0), quantise(tensor)[0])
    assert not torch.equal(quantise(tensor)[0], first)


def test_labels_and_ids_are_left_alone() -> None:
    ids = torch.arange(12).view(3, 4)
    for dtype in WIRE_DTYPES.values():
        assert torch.equal(Staging("cpu", wire_dtype=dtype).to_device(ids), ids)


def test_only_values_that_need_a_gradient_are_changed(link: tuple[Link, Link]) -> None:
    lower, _ = link
    tensors = [torch.arange(3), hidden(), hidden(), torch.ones(())]
    staging = Staging("cpu", wire_dtype=torch.int8)
    parts = staging.all_for_link(lower, 7, tensors, as_they_are=[0, 2, 3])
    assert [part.dtype for part in parts] == [
        torch.int64, torch.int8, torch.float32, torch.float32, torch.float32,
    ]  # fmt: skip
    assert [parts[0], *parts[3:]] == [tensors[0], *tensors[2:]]
    quantised, scales = staging.for_link(lower, 7, tensors[1])
    assert torch.equal(parts[1], quantised)
    assert torch.equal(parts[2], scales)


class SlotsOnDevice:
    """A link whose slots lie where the tensors do; what they were offered for."""

    def __init__(self, *, takes: bool = True) -> None:
        self.offered: list[torch.dtype] = []
        self._takes = takes

    def offer_slots(self, tensor: torch.Tensor) -> None:
        """Notes what it is."""
        self.offered.append(tensor.dtype)

    def takes(self, batch_id: int, tensor: torch.Tensor) -> bool:
        """All or nothing."""
        return self._takes


@pytest.mark.parametrize("name", WIRE_DTYPES)
def test_on_a_gpu_what_travels_stays_there_whatever_its_dtype(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an int8 tensor's scales go by the host."""
    staging, tensor, link = Staging("cpu", wire_dtype=WIRE_DTYPES[name]), hidden(), SlotsOnDevice()
    monkeypatch.setattr(staging, "_is_cpu", False)
    by_host: list[torch.Tensor] = []
    monkeypatch.setattr(staging, "_to_host", lambda parts: [by_host.extend(parts), *parts][1:])
    first, *scales = staging.for_link(link, 7, tensor)  # type: ignore[arg-type]
    assert first.dtype == (WIRE_DTYPES[name] or torch.float32)
    assert link.offered == [first.dtype]
    assert by_host == scales
    assert len(scales) == (name == "int8")

    link = SlotsOnDevice(takes=False)
    by_host.clear()
    parts = staging.for_link(link, 7, tensor)  # type: ignore[arg-type]
    assert list(map(id, by_host)) == list(map(id, parts))
    assert link.offered == [first.dtype, first.dtype]  # there, then on the host
