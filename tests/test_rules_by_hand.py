"""Every rule on two linear layers, held against its gradients written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dni_async.config.assembly import make_stage_machine
from dni_async.config.run_config import RunConfig
from dni_async.data import Dataset
from dni_async.data.inputs import Inputs
from dni_async.decisions.rules import (
    AnchorRule,
    BackpropRule,
    BootstrapRule,
    DelayedRule,
    NoBackpropRule,
    Rule,
    WarmUpRule,
)
from dni_async.stage.descent.optimizers import Sgd
from dni_async.stage.descent.updates import Updates
from dni_async.stage.layers import StageLayers
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.stage import Stage
from dni_async.synthesizers.boundary import Boundary
from dni_async.synthesizers.conv import ConvSynthesizer
from dni_async.synthesizers.copies import CopySynthesizer
from dni_async.synthesizers.copy_descent import Paced
from dni_async.synthesizers.critic import CriticSynthesizer
from dni_async.synthesizers.input_synthesizer import InputSynthesizer
from dni_async.synthesizers.interface import Synthesizer
from dni_async.synthesizers.linear import LinearSynthesizer
from dni_async.synthesizers.mlp import MlpSynthesizer
from dni_async.synthesizers.pooled import PooledSynthesizer
from dni_async.transport.staging import Staging
from dni_async.wire.messages import EpochTrained, Welcome
from dni_async.workers.in_memory import RUN_ID, InMemoryLine, Part
from dni_async.workers.startup.equipment import Equipment

RATE, SYNTHESIZER_RATE = 0.5, 0.25
TOLD = ("cpu", 1, "", "", (2,), False, 2, 9)  # what a Welcome says beside the stage
LOSS = make_loss("cross-entropy", (2,))
X = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, -1.0], [2.0, 1.0]])
Y = torch.tensor([0, 1, 1, 0])
ONE_HOT = torch.eye(2)[Y]
W0 = torch.tensor([[0.5, -0.3], [0.2, 0.7], [-0.4, 0.1]])  # 2 -> 3
W1 = torch.tensor([[0.3, -0.2, 0.6], [-0.5, 0.4, 0.1]])  # 3 -> 2
A = torch.tensor([[0.2, -0.1, 0.3], [-0.3, 0.5, 0.1]])  # the critic's classifier


def linear(weight: torch.Tensor) -> nn.Sequential:
    """A layer without bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return nn.Sequential(layer)


def make_stage(index: int, layers: nn.Sequential) -> Stage:
    """Whose update subtracts RATE times the gradient."""
    updates = Updates(layers, Sgd(layers.parameters(), lr=RATE))
    return Stage(index, StageLayers(layers, has_below=index > 0), updates, loss=LOSS)


class SameBatch(Inputs):
    """One batch, again and again; each time is an epoch of its own."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        samples, labels = x.numpy(), y.numpy()
        dataset = Dataset("by hand", samples, labels, samples[:0], labels[:0], num_classes=2)
        super().__init__(dataset, batch_size=len(x), seed=0)
        self._batch = x, y

    def train_batch(self, epoch: int, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch, in its own order."""
        return self._batch


class HandLine:
    """Two stages, as workers run them, in order.

    inputs: what the head predicts its inputs by, if it does.
    """

    def __init__(
        self,
        layers: tuple[nn.Sequential, nn.Sequential],
        rule: Rule,
        boundary: Boundary,
        batch: tuple[torch.Tensor, torch.Tensor],
        inputs: InputSynthesizer | None = None,
    ) -> None:
        unlock = "update" if inputs is None else "forward"
        config = RunConfig(layers=2, epochs=9, window=1, unlock=unlock)
        self.layers = layers
        parts = []
        for stage, each in enumerate(layers):
            data = SameBatch(*batch) if stage == 0 or inputs is not None else None
            machine = make_stage_machine(
                config,
                rule,
                stage=stage,
                num_stages=2,
                num_batches=None if data is None else data.num_batches,
            )
            equipment = Equipment(
                machine=machine,
                rule=rule,
                stage=make_stage(stage, each),
                staging=Staging("cpu"),
                boundary=boundary if stage == 0 and rule.needs_synthesizer else None,
                inputs=data,
                input_synthesizer=inputs if stage == 1 else None,
            )
            parts.append(Part(Welcome(RUN_ID, 2, stage, stage + 1, *TOLD), equipment))
        self._line = InMemoryLine(config, parts)
        self._turns = self._line.turns()

    def train(self) -> float:
        """The batch up the line, and all that comes back of it; its mean loss."""
        for _, message in self._turns:
            if isinstance(message, EpochTrained):  # the source has its marker back
                break
        return self._line.losses[-1]


def make_line(
    rule: Rule,
    synthesizer: Synthesizer,
    *,
    scale: float = 1.0,
    inputs: InputSynthesizer | None = None,
) -> HandLine:
    """Two stages of one linear layer each."""
    boundary = Boundary(lambda _: synthesizer, LOSS, scale=scale)
    return HandLine((linear(W0), linear(W1)), rule, boundary, (X, Y), inputs)


def critic() -> CriticSynthesizer:
    """Whose A is known and whose B is zero."""
    made = CriticSynthesizer(3, LOSS, lambda tensors: Sgd(tensors, lr=SYNTHESIZER_RATE))
    made.weight.copy_(A)
    return made


def zero_linear() -> LinearSynthesizer:
    """The paper's synthesizer at its start."""
    return LinearSynthesizer(3, LOSS.encoding, lambda tensors: Sgd(tensors, lr=SYNTHESIZER_RATE))


def class_error(logits: torch.Tensor) -> torch.Tensor:
    """The gradient of the summed cross-entropy by its logits: softmax - y."""
    return torch.softmax(logits, 1) - ONE_HOT


def weights(line: HandLine) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the two layers."""
    below, head = (next(layers.parameters()).detach() for layers in line.layers)
    return below, head


H = X @ W0.t()
DELTA1 = class_error(H @ W1.t()) / len(X)  # dL/d logits of the mean loss
TRUE = DELTA1 @ W1  # dL/dH
LOCAL = class_error(H @ A.t()) @ A / len(X)  # of the critic's own mean loss
HEAD_AFTER = W1 - RATE * DELTA1.t() @ H


@pytest.mark.parametrize(
    ("rule", "gradient"),
    [
        (BackpropRule(), TRUE),
        (DelayedRule(1.0), TRUE),
        (DelayedRule(0.5), 0.5 * TRUE),
        (DelayedRule(0.5, "replay"), 0.5 * TRUE),
        (NoBackpropRule(), torch.zeros_like(H)),
        (AnchorRule(0), LOCAL),
        (AnchorRule(1), LOCAL),
        (AnchorRule(1, updates=True), TRUE),
        (BootstrapRule(), LOCAL),
    ],
    ids=[
        "backprop",
        "fdg",
        "fdg shrunk",
        "fdg replayed",
        "no-bprop",
        "dgl",
        "anchor",
        "updating anchor",
        "dni",
    ],
)
def test_the_first_update(rule: Rule, gradient: torch.Tensor) -> None:
    line = make_line(rule, critic())
    loss = line.train()
    below, head = weights(line)
    expected_loss = -torch.log_softmax(H @ W1.t(), 1)[range(len(Y)), Y].mean()
    assert loss == pytest.approx(expected_loss.item())
    torch.testing.assert_close(below, W0 - RATE * gradient.t() @ X)
    torch.testing.assert_close(head, HEAD_AFTER)


@pytest.mark.parametrize(
    "rule", [BootstrapRule(), AnchorRule(1), AnchorRule(1, updates=True)], ids=lambda r: type(r)
)
def test_what_a_critic_learns_from_the_returned_gradient(rule: Rule) -> None:
    """B, the ridge regression of g - e A on e; of two classes e = (d, -d), and so is B."""
    synthesizer = critic()
    make_line(rule, synthesizer).train()
    after = A
    if not (isinstance(rule, AnchorRule) and rule.updates):  # A learns where it predicts
        after = A - SYNTHESIZER_RATE * class_error(H @ A.t()).t() @ H / len(X)
    torch.testing.assert_close(synthesizer.weight, after)
    matrix = regressed(class_error(H @ after.t() + synthesizer.bias), after, TRUE * len(X))
    torch.testing.assert_close(synthesizer.correction.matrix, matrix)
    assert synthesizer.is_corrected == 0  # nothing has judged it yet


def regressed(error: torch.Tensor, a: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """With s the mean of d d: S = s (1, -1)'(1, -1), which has (1, -1) twice as long, and r = s/10.

    So (S + r I) B = (1, -1)' mean(d residual) gives B = (1, -1)' mean(d residual) / (2.1 s).
    """
    d, residual = error[:, :1], wanted - error @ a
    row = (d * residual).mean(0) / (2.1 * d.square().mean())
    return torch.stack((row, -row))


def test_a_correction_is_added_once_a_batch_that_did_not_teach_it_says_so() -> None:
    synthesizer, wanted = critic(), TRUE * len(X)
    boundary = Boundary(lambda _: synthesizer, LOSS)
    error = class_error(H @ A.t())
    matrix = regressed(error, A, wanted)
    boundary.learn(H, Y, TRUE)
    torch.testing.assert_close(boundary.predict(H, Y), LOCAL)
    synthesizer.weight.copy_(A)
    synthesizer.bias.zero_()
    nearer, own = (
        (gradient * wanted).sum() / (gradient.norm() * wanted.norm())
        for gradient in (error @ (A + matrix), error @ A)
    )
    assert nearer > own
    boundary.learn(H, Y, TRUE)  # the same again, and so B stays
    torch.testing.assert_close(boundary.predict(H, Y), error @ (A + matrix) / len(X))
    assert synthesizer.is_corrected == 1


@pytest.mark.parametrize(
    "rule", [AnchorRule(0), AnchorRule(1), BootstrapRule()], ids=["dgl", "anchor", "bootstrap"]
)
def test_a_copy_of_the_head_begins_with_the_true_gradient_and_learns_as_the_head_does(
    rule: Rule,
) -> None:
    """g = (softmax(W h) - y) W with W the head's at first; at a rate of its own afterwards."""
    made = CopySynthesizer(linear(W1), LOSS, lambda weights: Sgd(weights, lr=SYNTHESIZER_RATE))
    boundary = Boundary(lambda _: critic(), LOSS, make_whole=lambda _: made)
    line = HandLine((linear(W0), linear(W1)), rule, boundary, (X, Y))
    line.train()
    below, head = (weight.clone() for weight in weights(line))
    torch.testing.assert_close(below, W0 - RATE * TRUE.t() @ X)
    torch.testing.assert_close(head, HEAD_AFTER)
    (copied,) = made.parameters
    after = W1 - SYNTHESIZER_RATE * DELTA1.t() @ H
    torch.testing.assert_close(copied.detach(), after)
    line.train()
    hidden = X @ below.t()
    gradient = class_error(hidden @ after.t()) @ after / len(X)
    torch.testing.assert_close(weights(line)[0], below - RATE * gradient.t() @ X)


def test_a_copy_that_learns_at_the_heads_rate_stays_equal_to_it() -> None:
    """g = (softmax(W h) - y) W with W the head's of now, at every batch, with a schedule too."""
    copied = linear(W1)
    made = CopySynthesizer(
        copied,
        LOSS,
        lambda weights: Paced(Sgd(weights, lr=2 * RATE), weights, rate_factor=lambda _: 0.5),
    )
    boundary = Boundary(lambda _: critic(), LOSS, make_whole=lambda _: made)
    line = HandLine((linear(W0), linear(W1)), AnchorRule(0), boundary, (X, Y))
    for _ in range(3):
        below, head = (weight.clone() for weight in weights(line))
        hidden = X @ below.t()
        error = class_error(hidden @ head.t()) / len(X)
        line.train()
        torch.testing.assert_close(weights(line)[0], below - RATE * (error @ head).t() @ X)
        torch.testing.assert_close(weights(line)[1], head - RATE * error.t() @ hidden)
        torch.testing.assert_close(made.parameters[0].detach(), weights(line)[1])


def test_a_local_loss_never_corrects_its_critic() -> None:
    synthesizer = critic()
    line = make_line(AnchorRule(0), synthesizer)
    for _ in range(3):
        line.train()
    assert torch.equal(synthesizer.correction.matrix, torch.zeros(2, 3))


def test_the_papers_linear_synthesizer_starts_at_zero_and_learns_the_true_gradient() -> None:
    """g(h, y) = h W + V y + b, on the squared error to the head's gradient per sample."""
    synthesizer = zero_linear()
    line = make_line(BootstrapRule(), synthesizer)
    line.train()
    assert torch.equal(weights(line)[0], W0)  # a gradient of zero
    slope = -2 / H.numel() * TRUE * len(X)
    torch.testing.assert_close(synthesizer.weight, -SYNTHESIZER_RATE * H.t() @ slope)
    torch.testing.assert_close(synthesizer.bias, -SYNTHESIZER_RATE * slope.sum(0))
    torch.testing.assert_close(synthesizer.code_weight, -SYNTHESIZER_RATE * ONE_HOT.t() @ slope)
    predicted = H @ synthesizer.weight + synthesizer.bias + ONE_HOT @ synthesizer.code_weight
    line.train()
    torch.testing.assert_close(weights(line)[0], W0 - RATE * (predicted / len(X)).t() @ X)


def test_the_complete_unlock() -> None:
    """The head goes on with I(x) = relu(x V0') V1'; the gradient of that is what comes back."""
    inputs = InputSynthesizer(
        (2,), (3,), lambda tensors: Sgd(tensors, lr=SYNTHESIZER_RATE), hidden_units=3
    )
    v0, v1 = W0 - 0.2, A.t() @ W1
    for parameter, value in zip(
        inputs.network.parameters(), [v0, torch.zeros(3), v1, torch.zeros(3)], strict=True
    ):
        with torch.no_grad():
            parameter.copy_(value)
    below = zero_linear()
    line = make_line(BootstrapRule(), below, inputs=inputs)
    line.train()

    units = torch.relu(X @ v0.t())
    predicted = units @ v1.t()
    delta = class_error(predicted @ W1.t()) / len(X)
    torch.testing.assert_close(weights(line)[1], W1 - RATE * delta.t() @ predicted)
    slope = 2 * (predicted - H) / H.numel()
    slope_of_units = (slope @ v1) * (units > 0)
    expected = [
        v0 - SYNTHESIZER_RATE * slope_of_units.t() @ X,
        -SYNTHESIZER_RATE * slope_of_units.sum(0),
        v1 - SYNTHESIZER_RATE * slope.t() @ units,
        -SYNTHESIZER_RATE * slope.sum(0),
    ]
    for parameter, value in zip(inputs.network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)

    # The source has learnt from what came back, at its own, real activation.
    learnt = 2 / H.numel() * H.t() @ (delta @ W1 * len(X))
    torch.testing.assert_close(below.weight, SYNTHESIZER_RATE * learnt)


def test_a_scale_multiplies_the_synthetic_gradient() -> None:
    line = make_line(AnchorRule(0), critic(), scale=0.25)
    line.train()
    below, head = weights(line)
    torch.testing.assert_close(below, W0 - RATE * 0.25 * LOCAL.t() @ X)
    torch.testing.assert_close(head, HEAD_AFTER)


def test_a_critic_learns_labels_before_the_stage_moves() -> None:
    """Two predictions by which only A moves; the third one is applied."""
    synthesizer = critic()
    line = make_line(WarmUpRule(AnchorRule(0), 2, learns_labels=True), synthesizer)
    a, bias = A, torch.zeros(2)
    for _ in range(2):
        line.train()
        assert torch.equal(weights(line)[0], W0)
        error = class_error(H @ a.t() + bias) / len(X)
        a, bias = a - SYNTHESIZER_RATE * error.t() @ H, bias - SYNTHESIZER_RATE * error.sum(0)
        torch.testing.assert_close(synthesizer.weight, a)
        torch.testing.assert_close(synthesizer.bias, bias)
    line.train()
    gradient = class_error(H @ a.t() + bias) @ a / len(X)
    torch.testing.assert_close(weights(line)[0], W0 - RATE * gradient.t() @ X)


def test_a_linear_synthesizer_learns_returned_gradients_before_the_stage_moves() -> None:
    synthesizer = zero_linear()
    line = make_line(WarmUpRule(BootstrapRule(), 2, learns_labels=False), synthesizer)
    for _ in range(2):
        line.train()
        assert torch.equal(weights(line)[0], W0)
    predicted = H @ synthesizer.weight + synthesizer.bias + ONE_HOT @ synthesizer.code_weight
    assert predicted.abs().min() > 0
    line.train()
    torch.testing.assert_close(weights(line)[0], W0 - RATE * (predicted / len(X)).t() @ X)


def test_without_hidden_layers_the_mlp_is_linear() -> None:
    """g(h, y) = M [h, y] + b, zero at the start, on the squared error."""
    synthesizer = MlpSynthesizer(
        3, LOSS.encoding, lambda ps: Sgd(ps, lr=SYNTHESIZER_RATE), layers=0
    )
    make_line(BootstrapRule(), synthesizer).train()
    slope = -2 / H.numel() * TRUE * len(X)
    weight, bias = synthesizer.parameters
    inputs = torch.cat([H, ONE_HOT], 1)
    torch.testing.assert_close(weight.detach(), -SYNTHESIZER_RATE * slope.t() @ inputs)
    torch.testing.assert_close(bias.detach(), -SYNTHESIZER_RATE * slope.sum(0))


# --- a stage of images: one 1x1 filter on 2x2 places, a head that sums what it is given -----------

IMAGES = torch.tensor([[[[1.0, 2.0], [0.0, -1.0]]], [[[0.5, 0.0], [1.0, 1.0]]]])  # [2, 1, 2, 2]
IMAGE_LABELS = torch.tensor([0, 1])
FILTER = 2.0
HEAD = torch.tensor([[0.5, -1.0, 0.25, 1.0], [-0.5, 0.5, 1.0, 0.0]])  # 4 places -> 2 classes
PLACES = FILTER * IMAGES.flatten(1)
IMAGE_ERROR = torch.softmax(PLACES @ HEAD.t(), 1) - torch.eye(2)[IMAGE_LABELS]
IMAGE_TRUE = (IMAGE_ERROR @ HEAD).view(2, 1, 2, 2)  # per sample


def make_image_line(rule: Rule, synthesizer: Synthesizer) -> HandLine:
    """A convolution by one number, and a linear head."""
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(convolution.weight, FILTER)
    layers = (nn.Sequential(convolution), nn.Sequential(nn.Flatten(), linear(HEAD)))
    return HandLine(layers, rule, Boundary(lambda _: synthesizer, LOSS), (IMAGES, IMAGE_LABELS))


def test_a_pooled_critic_updates_a_convolution_by_a_loss_on_the_mean() -> None:
    """One region: p = softmax(a m), m the mean of the places; a quarter of (p - y) a at each."""
    inner = CriticSynthesizer(1, LOSS, lambda tensors: Sgd(tensors, lr=SYNTHESIZER_RATE))
    a = torch.tensor([[0.4], [-0.6]])
    inner.weight.copy_(a)
    synthesizer = PooledSynthesizer((1, 2, 2), 1, lambda _: inner)
    line = make_image_line(AnchorRule(0), synthesizer)
    line.train()
    error = torch.softmax(PLACES.mean(1, keepdim=True) @ a.t(), 1) - torch.eye(2)[IMAGE_LABELS]
    gradient = (error @ a) / 4 / 2  # of each place, of the mean loss over two samples
    expected = FILTER - RATE * (gradient * IMAGES.flatten(1)).sum()
    torch.testing.assert_close(weights(line)[0].sum(), expected)


def test_what_a_pooled_critic_learns_is_the_sum_over_its_region() -> None:
    inner = CriticSynthesizer(1, LOSS, lambda tensors: Sgd(tensors, lr=SYNTHESIZER_RATE))
    a = torch.tensor([[0.4], [-0.6]])
    inner.weight.copy_(a)
    synthesizer = PooledSynthesizer((1, 2, 2), 1, lambda _: inner)
    make_image_line(AnchorRule(1, updates=True), synthesizer).train()
    means = PLACES.mean(1, keepdim=True)
    error = torch.softmax(means @ a.t(), 1) - torch.eye(2)[IMAGE_LABELS]
    summed = IMAGE_TRUE.sum((1, 2, 3)).unsqueeze(1)
    torch.testing.assert_close(inner.correction.matrix, regressed(error, a, summed))


def test_conv_without_hidden_layers_is_one_filter_and_a_bias_for_each_label() -> None:
    """The gradient of its centre weight is the product of place and slope, of V[y] the slope."""
    synthesizer = ConvSynthesizer(
        (1, 2, 2), LOSS.encoding, lambda ps: Sgd(ps, lr=SYNTHESIZER_RATE), layers=0
    )
    line = make_image_line(BootstrapRule(), synthesizer)
    line.train()
    assert weights(line)[0].item() == FILTER  # a gradient of zero
    slope = -2 / IMAGE_TRUE.numel() * IMAGE_TRUE
    weight, bias, code_bias = (p.detach() for p in synthesizer.parameters)
    hidden = PLACES.view(2, 1, 2, 2)
    rate = SYNTHESIZER_RATE
    torch.testing.assert_close(weight[0, 0, 2, 2], -rate * (hidden * slope).sum())
    torch.testing.assert_close(  # a place to the right of the one that it gives
        weight[0, 0, 2, 3], -rate * (hidden[..., 1] * slope[..., 0]).sum()
    )
    torch.testing.assert_close(bias, -rate * slope.sum((0, 2, 3)))
    torch.testing.assert_close(code_bias, -rate * slope.sum((2, 3)))  # a sample of each label
