"""Settings of how every stage, and the baseline, learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dni_async.config.names import LR_SCHEDULES, OF_OPTIMIZERS, OPTIMIZERS, TORCH_OPTIMIZERS
from dni_async.config.setting import (
    AT_LEAST_0,
    AT_LEAST_1,
    NOT_NEGATIVE,
    POSITIVE,
    Check,
    name_or_own,
    setting,
)

__all__ = ["LearningSettings"]

Dtype = Literal["fp32", "bf16"]
MemoryFormat = Literal["auto", "contiguous", "channels-last"]
OWN_FACTORY = "PACKAGE.MODULE:FACTORY"
OWN_FUNCTION = "PACKAGE.MODULE:FUNCTION"


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """Passes, batches, rates and numbers."""

    epochs: int = setting(
        10,
        "Passes over the training data.",
        why="the digits are learnt by then",
        check=AT_LEAST_1,
        resumable=True,
        starts_here=True,
    )
    updates_per_epoch: int | None = setting(
        None,
        "Batches that make an epoch; the next epoch goes on in the data where this one ended. For "
        "streams that do not say their length, and to test very long ones more often.",
        why="an epoch is a pass over the data",
        check=AT_LEAST_1,
        default_text="those of a whole pass",
    )
    evaluate_every: int = setting(
        1,
        "Test the network after every so many epochs, and after the last. An epoch in the report "
        "is all since the test before.",
        why="nobody waits for it but where the line is drained (0084, 0128)",
        check=AT_LEAST_1,
    )
    batch_size: int = setting(
        128,
        "Samples per batch.",
        why="a common size for such networks; not tuned",
        check=AT_LEAST_1,
        starts_here=True,
    )
    optimizer: str = setting(
        "adam",
        "Optimizer of every stage and of the baseline: one of ours (muon: matrices by Muon, "
        "all else by AdamW), a class such as torch.optim:NAdam, or a factory of your own over "
        "named parameters.",
        why="that of Jaderberg et al. 2016; it forgets the scale of a gradient",
        check=name_or_own(OPTIMIZERS, "factory", others=TORCH_OPTIMIZERS),
        metavar="|".join([*OPTIMIZERS, OWN_FACTORY]),
    )
    lr: float | None = setting(
        None,
        "Learning rate.",
        why="what Kingma & Ba 2015 suggest for Adam",
        check=POSITIVE,
        starts_here=True,
        default_text=f"{OF_OPTIMIZERS['lr']}; a class of torch's keeps its own",
    )
    lr_schedule: str = setting(
        "constant",
        "Learning rate over the run; step: a tenth after 60 and after 80 %. Or a function of your "
        "own of an update and their number, which gives a factor.",
        why="the plainest",
        check=name_or_own(LR_SCHEDULES, "function"),
        metavar="|".join([*LR_SCHEDULES, OWN_FUNCTION]),
    )
    warmup_updates: int = setting(
        0,
        "Updates over which the learning rate rises linearly.",
        why="these networks start without",
        check=AT_LEAST_0,
    )
    clip_norm: float | None = setting(
        None,
        "Most that the norm of a stage's gradients may be; the baseline's, of all its layers.",
        why="no network here needed it",
        check=POSITIVE,
        default_text="no bound",
    )
    accumulate: int = setting(
        1,
        "Batches whose mean gradient makes one update.",
        why="an update a batch, as usual",
        check=AT_LEAST_1,
    )
    momentum: float | None = setting(
        None,
        "Momentum of sgd and muon, or of a class that takes one.",
        why="the usual one",
        check=Check("in [0, 1)", lambda value: 0 <= value < 1),
        default_text=f"{OF_OPTIMIZERS['momentum']}; muon 0.95; a class of torch's keeps its own",
    )
    weight_decay: float | None = setting(
        None,
        "L2 penalty (adam, sgd), decoupled decay (adamw, muon), or what a class takes for it.",
        why="the plainest",
        check=NOT_NEGATIVE,
        default_text="0; a class of torch's keeps its own",
    )
    seed: int = setting(
        0,
        "Seeds weights, order of batches and all else.",
        why="any will do",
        check=Check("in [0, 2**31)", lambda value: 0 <= value < 2**31),
    )
    dtype: Dtype = setting(
        "fp32",
        "bf16: matrix products in bfloat16 by autocast, in the baseline too; weights and updates "
        "stay fp32.",
        why="exact, and as fast on CPUs without bfloat16 units",
    )
    memory_format: MemoryFormat = setting(
        "auto",
        "Order in memory of the maps and weights of convolutions, in the baseline too, as "
        "torch.contiguous_format and torch.channels_last have it. auto: channels-last on CPUs, "
        "unless the rule is exact, the network does not take it or has no convolution of images.",
        why="convolutions are 1.4 times as fast; exact rules equal a plain loop bit for bit",
    )
    compile: bool = setting(
        False,
        "torch.compile the layers of every stage and of the baseline (on GPUs with CUDA graphs). "
        "The start takes longer by the compilation.",
        why="layers computed by hand are faster than compiled ones (0022)",
    )

    @property
    def has_own_optimizer(self) -> bool:
        """Whether the optimizer is torch's or the user's, and none of ours."""
        return self.optimizer not in OPTIMIZERS
