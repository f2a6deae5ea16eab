"""The names that a run can give to what is built in, and what settings ask of each.

No torch here: the command line and the checks read these tables. What a name stands for is made
where it belongs: stage.descent.optimizers, synthesizers, network.models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "DATA_SETS",
    "LOSSES",
    "LR_SCHEDULES",
    "MODELS",
    "OF_OPTIMIZERS",
    "OPTIMIZERS",
    "OWN_SYNTHESIZER",
    "SYNTHESIZERS",
    "TORCH_OPTIMIZERS",
    "LossTraits",
    "ModelTraits",
    "SynthesizerTraits",
]

DATA_SETS: Final = ("digits", "mnist", "fashion-mnist", "cifar10")
OPTIMIZERS: Final = ("sgd", "adam", "adamw", "muon")
TORCH_OPTIMIZERS: Final = tuple(
    f"torch.optim:{name}"
    for name in (
        "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adamax", "Muon", "NAdam", "RAdam", "RMSprop",
        "Rprop", "SparseAdam",
    )
)  # fmt: skip
"""What those who write a name of theirs may have meant."""
OF_OPTIMIZERS: Final = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0}
"""What optimizers are asked for where nothing is said; those of others keep their own defaults."""
LR_SCHEDULES: Final = ("constant", "linear", "cosine", "step")


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """keeps_images: whether what passes between its layers is [B, C, H, W]. width: of its hidden
    layers where nothing is said.
    """

    keeps_images: bool = False
    width: int = 1024


MODELS: Final = {"cnn": ModelTraits(keeps_images=True, width=128), "residual": ModelTraits()}
"""Of a network that is named; without a name it is the MLP, whose traits are the defaults."""


@dataclass(frozen=True, slots=True)
class LossTraits:
    """takes: class labels, numbers, or shares, which are numbers in [0, 1]."""

    takes: Literal["classes", "numbers", "shares"] = "numbers"


LOSSES: Final = {
    "cross-entropy": LossTraits(takes="classes"),
    "mse": LossTraits(),
    "l1": LossTraits(),
    "huber": LossTraits(),
    "smooth-l1": LossTraits(),
    "bce-with-logits": LossTraits(takes="shares"),
    "nll": LossTraits(takes="classes"),
    "bce": LossTraits(takes="shares"),
}
"""Each as torch has it, with torch's defaults; one of the user's own takes any targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesizerTraits:
    """What a synthesizer is like.

    learns_labels: it is a local readout, taught by the labels of every batch. hidden_layers: how
    many it has if not told otherwise; None where it can have none. copied_layers: so too, of layers
    of the network that it has copies of. needs_images: its activations
    are [B, C, H, W]. takes_any_size: samples may differ in shape from batch to batch. lr: of its
    Adam, if not told otherwise; lr_of_numbers: the same where targets are no class labels, if
    another. maker: what makes it of an Order, as ``module:name``; a class of the user's own is made
    by its name.
    """

    learns_labels: bool = False
    hidden_layers: int | None = None
    copied_layers: int | None = None
    needs_images: bool = False
    takes_any_size: bool = False
    lr: float = 1e-3
    lr_of_numbers: float | None = None
    maker: str = ""


SYNTHESIZERS: Final = {
    "linear": SynthesizerTraits(maker="dni_async.synthesizers.linear:make_linear"),
    "mlp": SynthesizerTraits(hidden_layers=2, lr=1e-4, maker="dni_async.synthesizers.mlp:make_mlp"),
    "conv": SynthesizerTraits(
        hidden_layers=2,
        needs_images=True,
        takes_any_size=True,
        maker="dni_async.synthesizers.conv:make_conv",
    ),
    # A linear readout, which learns ten times as fast as the layers it serves.
    "critic": SynthesizerTraits(
        learns_labels=True,
        hidden_layers=0,
        lr=1e-2,
        lr_of_numbers=3e-3,
        maker="dni_async.synthesizers.critic:make_critic",
    ),
    # The maker is of the critic that takes its place where nothing above can be copied.
    "copy": SynthesizerTraits(
        learns_labels=True,
        copied_layers=0,
        takes_any_size=True,
        lr=3e-3,
        maker="dni_async.synthesizers.critic:make_critic",
    ),
}
OWN_SYNTHESIZER: Final = SynthesizerTraits(takes_any_size=True)
"""Of a class of the user's own, which says itself what it does not take."""
