"""A function of the user's own measures batches, and says what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dni_async import ConfigError
from dni_async.stage.losses.metrics.own import OwnMetric


def test_batches_count_by_their_samples() -> None:
    metric = OwnMetric("mean", lambda outputs, _targets: outputs.mean())
    first, second = metric.sums(torch.ones(3, 2), torch.zeros(3)), [4.0, 1.0]
    assert metric.value([one + other for one, other in zip(first, second, strict=True)]) == 7 / 4


def test_what_it_writes_into_is_its_own() -> None:
    def zero(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        outputs.zero_()
        targets.zero_()
        return 0.0

    outputs, targets = torch.ones(2, 2), torch.ones(2, dtype=torch.int64)
    OwnMetric("zero", zero).sums(outputs, targets)
    assert outputs.sum() == 4
    assert targets.sum() == 2


@pytest.mark.parametrize("given", [0.5, 1, np.float32(0.5), np.array([0.5]), torch.tensor([[0.5]])])
def test_any_one_number_is_taken(given: object) -> None:
    assert OwnMetric("f", lambda *_: given).sums(torch.ones(2), torch.ones(2))[0] in (1.0, 2.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [(None, "gave a NoneType"), (torch.ones(2), r"gave a Tensor \[2\]"), ("much", "gave a str")],
)
def test_what_is_no_number_is_told(given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=f"metrics: f must give a number, .*{said}"):
        OwnMetric("f", lambda *_: given).sums(torch.ones(2), torch.ones(2))


def test_what_it_raises_is_told() -> None:
    def broken(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        raise ValueError("of no use")

    said = (
        r"metrics: f raised ValueError: of no use \(outputs \[2, 3\], targets torch.int64 \[2\]\)"
    )
    with pytest.raises(ConfigError, match=said):
        OwnMetric("f", broken).sums(torch.ones(2, 3), torch.ones(2, dtype=torch.int64))
