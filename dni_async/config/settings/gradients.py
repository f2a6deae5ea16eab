"""Settings of how a stage gets its gradient, and of what predicts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dni_async.config.names import SYNTHESIZERS
from dni_async.config.setting import (
    AT_LEAST_0,
    AT_LEAST_1,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    name_or_own,
    setting,
)
from dni_async.decisions.rules import AUTO, RULES

__all__ = ["RuleSettings", "SynthesizerSettings"]

LateGradients = Literal["kept", "replay"]
Targets = Literal["bootstrap", "anchor"]
Unlock = Literal["update", "forward"]
OWN_CLASS = "PACKAGE.MODULE:CLASS"


def _of_each(values: Mapping[str, Any]) -> str:
    """What each of some names has: ``linear 0.001, mlp 0.0001``."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items() if value is not None)


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """How a stage gets the gradient it updates with."""

    rule: str = setting(
        "dni",
        "How a stage gets its gradient: dni predicts it, dgl has a local loss, fdg takes the "
        "true one late; backprop runs in lockstep; with no-bprop only the head learns. auto takes "
        "that of the first three, or dni with copies, that learns most in short trials before the "
        "start. Or a class of your own.",
        why="what this program is about",
        check=name_or_own((*RULES, AUTO), "Class"),
        starts_here=True,
        metavar="|".join([*RULES, AUTO, OWN_CLASS]),
    )
    targets: Targets = setting(
        "anchor",
        "What synthesizers of dni learn from: the true gradient of some batches, which are the "
        "anchors; or, bootstrap, the synthetic gradient of the stage above on every batch (the "
        "paper).",
        why="between anchors no gradient of inputs is computed: a third is saved (0015)",
    )
    anchor_every: int = setting(
        32,
        "With targets anchor: every so many batches; 0 is never.",
        why="every 8th was no better, and cost more (0015)",
        check=AT_LEAST_0,
    )
    anchor_updates: bool = setting(
        False,
        "On anchor batches update with the true gradient when it is back, not with a synthetic "
        "one.",
        why="anchors that only teach learnt faster (0015)",
    )
    gradient_shrink: float = setting(
        1.0,
        "With fdg: what a gradient is multiplied by at each boundary.",
        why="the gradient as it is",
        check=SHARE,
    )
    late_gradients: LateGradients = setting(
        "kept",
        "How a true gradient that comes after other updates (fdg, --anchor-updates) is pulled back "
        "through the present weights: kept, with the inputs of layers and the masks that the "
        "forward left; replay, with those of a second forward, which takes less memory.",
        why="a product of four is saved, and neither learns better throughout (0121)",
    )
    foretell_weights: bool = setting(
        True,
        "Where updates wait for true gradients that are late (fdg): run batches forward with the "
        "weights that the last update foretells for when the gradient comes.",
        why="most of what the delay costs is won back, with every optimizer (0125)",
    )
    unlock: Unlock = setting(
        "update",
        "What no stage waits for: update is gradients; forward, inputs too, which every stage "
        "predicts from the samples and goes on with, up to a window ahead of the stage below "
        "(dni, dgl, no-bprop).",
        why="with forward every worker reads the data and learns to predict its input (0023)",
    )
    update_probability: float = setting(
        1.0,
        "With which a stage makes an update; below 1, stages update in random order.",
        why="every batch is an update, as usual",
        check=SHARE,
    )
    staleness_power: float = setting(
        0.0,
        "Divide the rate of a late gradient's update by (1 + staleness) to this power; 0 leaves "
        "it.",
        why="the rate as it is",
        check=NOT_NEGATIVE,
    )
    when_full: Literal["wait", "skip"] = setting(
        "wait",
        "Full window: wait, or skip: learn on without sending that batch up.",
        why="no sample is lost to any stage",
    )
    when_empty: Literal["wait", "replay"] = setting(
        "wait",
        "No input: wait, or replay: learn from the inputs seen last.",
        why="replaying was not worth while where the cores have other work",
    )
    replay_batches: int = setting(
        16,
        "Inputs kept for --when-empty replay.",
        why="as many as a window; not tuned",
        check=AT_LEAST_1,
    )
    replay_limit: int = setting(
        4,
        "How often each of them is replayed at most.",
        why="not tuned",
        check=AT_LEAST_1,
    )


@dataclass(frozen=True, kw_only=True)
class SynthesizerSettings:
    """What predicts gradients at each boundary."""

    synthesizer: str = setting(
        "critic",
        "What predicts gradients at each boundary. critic reads the outputs off the activation, or "
        "is a copy of the cheapest way through the layers above, where that is as cheap; copy is "
        "one everywhere. linear, mlp and conv (for images) learn from returned gradients "
        "alone: use them with --targets bootstrap. Or a class of your own.",
        why="costs a few columns instead of a matrix, and learns without messages (0014)",
        check=name_or_own(tuple(SYNTHESIZERS), "Class"),
        metavar="|".join([*SYNTHESIZERS, OWN_CLASS]),
    )
    label_conditioning: bool = setting(
        True,
        "Let synthesizers see the labels.",
        why="predictions are far better with them (cDNI of Jaderberg et al. 2016)",
    )
    synthesizer_lr: float | None = setting(
        None,
        "Learning rate of the synthesizers: of their Adam, and of the run's optimizer for a copy "
        "of all that lies above. A copy's follows the run's schedule.",
        why="of the critic: it can follow ten times as fast as the layers it serves (0014); such a "
        "copy stays equal to what it is a copy of (0131)",
        check=POSITIVE,
        default_text=_of_each({name: traits.lr for name, traits in SYNTHESIZERS.items()})
        + f"; of the critic of numbers {SYNTHESIZERS['critic'].lr_of_numbers}; of a copy of all "
        "that lies above, the run's",
    )
    synthesizer_layers: int | None = setting(
        None,
        "Hidden layers of critic, mlp and conv; with none they are linear. Of copy: layers of the "
        "network that it has copies of before the readout.",
        why="the paper's; a deeper critic costs as much as the layer it serves (0031)",
        check=AT_LEAST_0,
        default_text=_of_each(
            {
                name: each.hidden_layers if each.copied_layers is None else each.copied_layers
                for name, each in SYNTHESIZERS.items()
            }
        ),
    )
    synthesizer_width: int | None = setting(
        None,
        "Units or filters of those.",
        why="mlp: the paper's",
        check=AT_LEAST_1,
        default_text="mlp 1024, critic and conv as the activation has units or channels",
    )
    synthesizer_pool: int = setting(
        4,
        "With critic and copy on images: read out of the means of so many regions in each "
        "direction; 0 is every place by itself.",
        why="as accurate as every place, with fewer weights (0030)",
        check=AT_LEAST_0,
    )
    synthesizer_warmup: int = setting(
        0,
        "Updates that a synthesizer makes before its gradients are applied.",
        why="the critic is of use from the start",
        check=AT_LEAST_0,
    )
    synthesizer_scale: float = setting(
        1.0,
        "What synthetic gradients are multiplied by.",
        why="the gradient as it is predicted",
        check=POSITIVE,
    )
    synthesizer_clip: float | None = setting(
        None,
        "Most that the norm of the gradients may be by which a synthesizer learns.",
        why="none here needed it",
        check=POSITIVE,
        default_text="no bound",
    )
