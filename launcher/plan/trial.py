"""A network of the user's own, tried on a few samples before any process starts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dni_async.config.extensions import is_extension
from dni_async.config.metric_names import LOSS
from dni_async.config.run_config import RunConfig
from dni_async.config.target_form import TargetForm
from dni_async.data.feed import DataFacts, Feed
from dni_async.data.opening import open_feed
from dni_async.decisions.actions import Batch, Forward
from dni_async.errors import ConfigError
from dni_async.files.weights import WeightsForm
from dni_async.network.split.kept import recordings_kept

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Tried",
    "check_last_batch",
    "try_metrics",
    "try_model",
    "try_optimizer",
    "try_regrouped",
    "try_stages",
]

NUM_SAMPLES = 8  # of a batch: enough to tell numbers apart, and soon done
NUM_BATCHES = 2


def check_last_batch(config: RunConfig, num_train: int | None) -> None:
    """Raises ConfigError where an epoch ends in a batch of one, with BatchNorm in the network."""
    if num_train is None or config.updates_per_epoch:  # what comes then is not known
        num_train = config.batch_size
    if config.batch_size == 1 or num_train % config.batch_size == 1:
        raise ConfigError(
            f"batch_size: {config.batch_size} leaves a batch of one of the {num_train} training "
            "samples, which BatchNorm cannot normalise; take another"
        )


@dataclass(frozen=True, slots=True)
class Tried:
    """Of a network that takes the data: what each layer holds, the shape of one sample's outputs,
    and the form of the targets.
    """

    layers: tuple[WeightsForm, ...]
    output_shape: tuple[int, ...]
    form: TargetForm


def try_model(config: RunConfig, feed: Feed) -> Tried:
    """Build the network and pass it a few samples; have a loss of the user's own tell of them.

    Nothing is tried where both are ours. Raises ConfigError.
    """
    from dni_async.launcher.plan.forms import forms_of, named_forms

    facts, is_own_loss = feed.facts, is_extension(config.loss)
    if config.model is None and not is_own_loss:
        layers = named_forms(config, facts.input_shape, facts.form.output_shape)
        return Tried(layers, facts.form.output_shape, facts.form)
    from dni_async.network.building import (
        build_network,
        check_network,
        has_batch_norm,
    )
    from dni_async.network.trial.losses import try_loss
    from dni_async.stage.losses.catalog import run_loss

    network = build_network(config, facts.input_shape, facts.form.output_shape)
    x = feed.few_samples()
    outputs = check_network(network, x, x.shape[:1])
    form = facts.form_by(tuple(outputs.shape[1:]))
    feed.agree(form)
    loss = run_loss(config, form, tuple(outputs.shape[1:]))
    targets = _like_targets(facts, len(x))
    loss.check_outputs(outputs, targets)
    if loss.sample_dims(targets) > 1:
        check_network(network, x, targets.shape[: loss.sample_dims(targets)])
    if is_own_loss:
        try_loss(network, loss, _first_batches(feed)[0])
    if has_batch_norm(network):
        check_last_batch(config, facts.num_train)
    return Tried(forms_of(network), tuple(outputs.shape[1:]), form)


def try_stages(
    config: RunConfig,
    feed: Feed,
    ranges: Sequence[tuple[int, int]],
    output_shape: tuple[int, ...],
) -> None:
    """Train the network of config on a few samples, in these stages and as it is.

    Nothing is tried where network and optimizer are ours. Raises ConfigError; see network.trial.
    """
    if not _is_own(config):
        return
    from dni_async.network.building import build_network, check_tied
    from dni_async.network.trial.trial import try_network
    from dni_async.stage.losses.catalog import run_loss

    facts = feed.facts

    def make() -> nn.Sequential:
        return build_network(config, facts.input_shape, facts.form.output_shape)

    check_tied(make(), ranges)
    try_network(
        make,
        ranges,
        _first_batches(feed),
        config,
        run_loss(config, facts.form, output_shape),
        replays=_replays(config),
        is_late=any(forward.is_late for forward in _forwards(config)),
    )


def try_metrics(config: RunConfig, feed: Feed, tried: Tried) -> None:
    """Measure a few samples of an untrained network. Raises ConfigError for what does not fit.

    Nothing is tried where that is accuracy alone, of a loss of ours that takes class labels.
    """
    if set(config.measured) <= {LOSS, "accuracy"} and config.taken.kind == "classes":
        return
    from dni_async.network.building import build_network
    from dni_async.network.trial.metrics import try_metrics as measure
    from dni_async.stage.losses.catalog import run_loss
    from dni_async.stage.losses.metrics.examination import make_examination

    facts = feed.facts
    network = build_network(config, facts.input_shape, facts.form.output_shape)
    examination = make_examination(config, run_loss(config, tried.form, tried.output_shape))
    measure(network, examination, _first_batches(feed)[0])


@recordings_kept()
def try_regrouped(
    config: RunConfig,
    ranges: Sequence[tuple[int, int]],
    output_shape: tuple[int, ...],
    form: TargetForm,
) -> None:
    """As try_stages, where the stages were not known when the run was planned."""
    if _is_own(config):
        with closing(open_feed(config, form=form, fetches="here")) as feed:
            try_stages(config, feed, ranges, output_shape)


def try_optimizer(config: RunConfig, feed: Feed) -> list[str]:
    """Make an optimizer and ask a schedule of the user's own; what is to be said of them.

    Raises ConfigError; see stage.descent.making.
    """
    from dni_async.network.building import build_network
    from dni_async.stage.descent.making import is_joint, left_out
    from dni_async.stage.descent.rates import check_schedule

    check_schedule(config, config.epochs * feed.num_batches[0])
    if not config.has_own_optimizer:
        return []
    network = build_network(config, feed.facts.input_shape, feed.facts.form.output_shape)
    named, notes = list(network.named_parameters()), []
    if names := left_out(named, config):
        count = f"{len(names)} parameter{'s' if len(names) > 1 else ''}"
        notes.append(f"the optimizer leaves out {count}, which will not change: {_few(names)}")
    if is_joint(named, config):
        notes.append(
            "the optimizer goes by all its parameters together, and each stage has one of its own: "
            "updates are not those of one for the whole network"
        )
    return notes


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _is_own(config: RunConfig) -> bool:
    is_own_model = config.model is not None and is_extension(config.model)
    return is_own_model or config.has_own_optimizer


def _replays(config: RunConfig) -> bool:
    """Whether stages of this rule run batches again, of anchors or of all."""
    return any(each.keeps_inputs or not each.keeps_graph for each in _forwards(config))


def _forwards(config: RunConfig) -> list[Forward]:
    """Those of a stage in the middle."""
    rule = config.make_rule()
    return [
        action
        for anchor in (False, True)
        for action in rule.on_batch(Batch(1, "train", anchor), has_below=True, has_above=True)
        if isinstance(action, Forward)
    ]


def _first_batches(feed: Feed) -> list[tuple[Any, Any]]:
    """A few samples of the first training batches, with their targets."""
    num_batches = feed.num_batches[0]
    batches = [feed.train_batch(1, index % num_batches) for index in range(NUM_BATCHES)]
    return [(x[:NUM_SAMPLES], y[:NUM_SAMPLES]) for x, y in batches]


def _like_targets(facts: DataFacts, count: int) -> Any:
    """Zeros in the shape and dtype of the targets of count samples."""
    import torch

    dtype = torch.int64 if facts.form.dtype == "int64" else torch.float32
    return torch.zeros(count, *facts.form.shape, dtype=dtype)
