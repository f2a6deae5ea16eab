"""What a neighbour sent is refused unless activation, labels and gradient belong together."""

from __future__ import annotations

import re

import pytest
import torch

from dni_async.errors import LinkError
from dni_async.messages import Activation, ReturnedGradient
from workers.arrivals import check_activation, check_gradient

ACTIVATION = Activation("run", 7, 0, "train", False, ())
GRADIENT = ReturnedGradient("run", 7, 0, True, ())
DTYPES = {torch.float32}


def ints(*shape: int) -> torch.Tensor:
    """Labels of this shape."""
    return torch.zeros(shape, dtype=torch.int64)


@pytest.mark.parametrize(
    ("hidden", "labels"), [((3, 4), (3,)), ((3, 2, 4), (3,)), ((3, 2, 4), (3, 2))]
)
def test_labels_are_the_leading_shape(hidden: tuple[int, ...], labels: tuple[int, ...]) -> None:
    sent = [torch.zeros(hidden), ints(*labels)]
    assert list(check_activation(1, ACTIVATION, sent, DTYPES)) == sent


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([torch.zeros(3, 4)], "1 tensors, needs 2"),
        ([torch.zeros(3, 4).half(), ints(3)], "activation is torch.float16"),
        ([torch.zeros(3, 4), torch.zeros(3)], "labels torch.float32"),
        ([torch.zeros(3), ints(3)], "activation [3] and labels [3] do not belong together"),
        ([torch.zeros(3, 4), ints(2)], "do not belong together"),
        ([torch.zeros(3, 4), ints(3, 4)], "do not belong together"),
        ([torch.zeros(3, 2, 4), ints(3, 4)], "do not belong together"),
        ([torch.zeros(3, 2, 4, 5), ints(3, 2, 4)], "do not belong together"),
        ([torch.zeros(3, 4), ints()], "do not belong together"),
    ],
)
def test_unfit_activations_are_refused(tensors: list[torch.Tensor], message: str) -> None:
    expected = f"stage 1, Activation of batch 7: .*{re.escape(message)}"
    with pytest.raises(LinkError, match=expected):
        check_activation(1, ACTIVATION, tensors, DTYPES)


@pytest.mark.parametrize(
    ("tensors", "hidden", "message"),
    [
        ([torch.zeros(3, 4)], None, "not in hand"),
        ([torch.zeros(3, 4)] * 2, torch.zeros(3, 4), "gradient [[3, 4], [3, 4]], needs [[3, 4]]"),
        ([torch.zeros(6, 4)], torch.zeros(3, 2, 4), "gradient [[6, 4]], needs [[3, 2, 4]]"),
        ([ints(3, 4)], torch.zeros(3, 4), "gradient is torch.int64"),
    ],
)
def test_unfit_gradients_are_refused(
    tensors: list[torch.Tensor], hidden: torch.Tensor | None, message: str
) -> None:
    expected = f"stage 1, ReturnedGradient of batch 7: .*{re.escape(message)}"
    with pytest.raises(LinkError, match=expected):
        check_gradient(1, GRADIENT, tensors, hidden, DTYPES)
