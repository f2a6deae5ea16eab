"""A network of the user's own, tried on a few samples before any process starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dni_async.config.extensions import is_extension
from dni_async.config.run_config import RunConfig
from dni_async.data.feed import Feed
from dni_async.data.opening import open_feed
from dni_async.decisions.actions import Batch, Forward
from dni_async.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["check_last_batch", "try_model", "try_optimizer", "try_regrouped", "try_stages"]

NUM_SAMPLES = 8  # of a batch: enough to tell numbers apart, and soon done
NUM_BATCHES = 2


def check_last_batch(config: RunConfig, num_train: int) -> None:
    """Raises ConfigError where an epoch ends in a batch of one, with BatchNorm in the network."""
    if config.batch_size == 1 or num_train % config.batch_size == 1:
        raise ConfigError(
            f"batch_size: {config.batch_size} leaves a batch of one of the {num_train} training "
            "samples, which BatchNorm cannot normalise"
        )


def try_model(config: RunConfig, feed: Feed) -> int:
    """Build the user's network and pass it a few samples; the number of its layers."""
    import torch

    from dni_async.network.building import (
        build_network,
        check_network,
        has_batch_norm,
        layer_starts,
    )
    from dni_async.stage.losses.catalog import run_loss

    facts = feed.facts
    network = build_network(config, facts.input_shape, facts.num_classes)
    x = feed.few_samples()
    targets = torch.zeros(len(x), *facts.label_shape, dtype=torch.int64)
    loss = run_loss(facts.num_classes)
    loss.check_outputs(
        check_network(network, x, targets.shape[: loss.sample_dims(targets)]), targets
    )
    if has_batch_norm(network):
        check_last_batch(config, facts.num_train)
    return len(layer_starts(network))


def try_stages(config: RunConfig, feed: Feed, ranges: Sequence[tuple[int, int]]) -> None:
    """Train the network of config on a few samples, in these stages and as it is.

    Nothing is tried where network and optimizer are ours. Raises ConfigError; see network.trial.
    """
    if not _is_own(config):
        return
    from dni_async.network.building import build_network, check_tied
    from dni_async.network.trial.trial import try_network
    from dni_async.stage.losses.catalog import run_loss

    facts, num_batches = feed.facts, feed.num_batches[0]
    batches = [feed.train_batch(1, index % num_batches) for index in range(NUM_BATCHES)]

    def make() -> nn.Sequential:
        return build_network(config, facts.input_shape, facts.num_classes)

    check_tied(make(), ranges)
    try_network(
        make,
        ranges,
        [(x[:NUM_SAMPLES], y[:NUM_SAMPLES]) for x, y in batches],
        config,
        run_loss(facts.num_classes),
        replays=_replays(config),
    )


def try_regrouped(config: RunConfig, ranges: Sequence[tuple[int, int]]) -> None:
    """As try_stages, where the stages were not known when the run was planned."""
    if _is_own(config):
        try_stages(config, open_feed(config), ranges)


def try_optimizer(config: RunConfig, feed: Feed) -> list[str]:
    """Make an optimizer and ask a schedule of the user's own; what is to be said of them.

    Raises ConfigError; see stage.descent.making.
    """
    from dni_async.network.building import build_network
    from dni_async.stage.descent.making import left_out
    from dni_async.stage.descent.rates import check_schedule

    check_schedule(config, config.epochs * feed.num_batches[0])
    if not config.has_own_optimizer:
        return []
    network = build_network(config, feed.facts.input_shape, feed.facts.num_classes)
    names = left_out(list(network.named_parameters()), config)
    if not names:
        return []
    count = f"{len(names)} parameter{'s' if len(names) > 1 else ''}"
    return [f"the optimizer leaves out {count}, which will not change: {_few(names)}"]


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _is_own(config: RunConfig) -> bool:
    is_own_model = config.model is not None and is_extension(config.model)
    return is_own_model or config.has_own_optimizer


def _replays(config: RunConfig) -> bool:
    """Whether stages of this rule run batches again, of anchors or of all."""
    rule = config.make_rule()
    forwards = [
        action
        for anchor in (False, True)
        for action in rule.on_batch(Batch(1, "train", anchor), has_below=True, has_above=True)
        if isinstance(action, Forward)
    ]
    return any(forward.keeps_inputs or not forward.keeps_graph for forward in forwards)
