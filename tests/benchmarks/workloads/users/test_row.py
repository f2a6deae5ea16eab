"""What is asked of a row, and what the figures make of outputs."""

from __future__ import annotations

import pytest
import torch

from benchmarks.workloads.users.figures import IGNORED, label_accuracy, mean_iou, token_accuracy
from benchmarks.workloads.users.row import Asked, Bound, Measured, verdict

POINTS = Asked("accuracy", Bound(0.02))
SHARE = Asked("RMSE", Bound(0.02, is_share=True, lower_is_better=True))


def seed(plain: float, ours: float | None, **more: object) -> Measured:
    """One seed, of which only the figures matter."""
    return Measured(0, plain, 0.0, 0.0, ours, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "seeds", "said"),
    [
        (POINTS, [seed(0.90, 0.89)], "met"),
        (POINTS, [seed(0.90, 0.87), seed(0.90, 0.91)], "met"),  # the means are compared
        (POINTS, [seed(0.90, 0.87)], "MISSED"),
        (POINTS, [seed(0.90, 0.99)], "met"),  # better is not further off
        (SHARE, [seed(50.0, 50.9)], "met"),
        (SHARE, [seed(50.0, 51.1)], "MISSED"),
        (Asked("accuracy"), [seed(0.9, 0.1)], "met (runs)"),
        (POINTS, [seed(0.9, None, refused="no")], "MISSED: refused: no"),
        (
            Asked("accuracy", None, may_refuse=True),
            [seed(0.9, None, refused="no")],
            "met (refused)",
        ),
        (POINTS, [seed(0.9, 0.9, complaints=["grew"])], "MISSED: grew"),
    ],
)
def test_verdicts(asked: Asked, seeds: list[Measured], said: str) -> None:
    assert verdict(asked, seeds) == said


def test_figures_count_what_counts() -> None:
    logits = torch.eye(3)[torch.tensor([[0, 1, 2, 2]])]
    assert token_accuracy(logits, torch.tensor([[0, 1, 0, IGNORED]])) == pytest.approx(2 / 3)
    pixels = torch.eye(2)[torch.tensor([[[0, 0], [1, 1]]])].movedim(-1, 1)
    assert mean_iou(pixels, torch.tensor([[[0, 0], [0, 1]]])) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert label_accuracy(torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 1.0]])) == 0.5
