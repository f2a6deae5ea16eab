"""Which settings go together, and what a rule asks of them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from dni_async.addresses import is_tcp_address
from dni_async.config.extensions import is_extension
from dni_async.config.meant import did_you_mean
from dni_async.config.metric_names import (
    KNOWN,
    METRICS,
    check_metrics,
    is_built_in,
    label_of,
    traits_of_metric,
)
from dni_async.config.names import LOSSES, MODELS, OWN_SYNTHESIZER, SYNTHESIZERS, ModelTraits
from dni_async.config.settings import Settings
from dni_async.decisions.goal import LOSS
from dni_async.decisions.rules import RULES, Traits, traits_of
from dni_async.errors import ConfigError

__all__ = ["check_together", "check_with_rule"]


def _check_devices(config: Settings) -> None:
    if not config.devices:
        raise ConfigError("devices: must be at least one device, but is ()")
    for device in config.devices:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", device):
            raise ConfigError(
                f"devices: unknown device {device!r}; use cpu, cuda, or cuda:0,cuda:1,..."
                f"{_meant_device(device)}"
            )
    if len(config.devices) > 1 and "auto" in config.devices:
        raise ConfigError("devices: 'auto' cannot be listed beside other devices")


def _meant_device(device: str) -> str:
    index = device.rpartition(":")[2]
    numbered = (f"cuda:{index}",) if index.isdecimal() and index.isascii() else ()
    return did_you_mean(device, ("auto", "cpu", "cuda", *numbered))


def check_together(config: Settings) -> None:
    """Raises ConfigError, which names the setting, when two settings do not go together.

    What depends on the rule is for check_with_rule.
    """
    _check_devices(config)
    _check_stages(config)
    _check_synthesizer(config)
    _check_loss(config)
    _check_measures(config)
    _check_waiting(config)
    _check_engine(config)
    _check_hosts(config)
    _check_network(config)
    _check_split(config)


def _check_split(config: Settings) -> None:
    """What goes with a network that is cut by names."""
    is_own = config.model is not None and is_extension(config.model)
    if config.split and not is_own:
        raise ConfigError(
            "split: is for a network of your own, but the layers of "
            f"{config.model or 'the MLP'} are known; leave it out"
        )
    if not all(config.split):
        raise ConfigError(f"split: must be names of modules, but is {','.join(config.split)!r}")
    if len(config.split) > 1 and "auto" in config.split:
        raise ConfigError("split: 'auto' cannot be listed beside names")


def _check_measures(config: Settings) -> None:
    """What goes with what is measured."""
    if config.early_stop and config.target is None:
        raise ConfigError("early_stop: needs a target to stop at")
    entries = config.metrics
    if entries is not None:
        check_metrics(entries)
    chosen = config.metric
    labels = [] if entries is None else [label_of(entry) for entry in entries]
    if chosen is not None and chosen not in (LOSS, *labels) and not is_built_in(chosen):
        raise ConfigError(
            f"metric: must be {', '.join([*labels, LOSS])} or another metric with a name "
            f"({', '.join(METRICS)}, top-K), but is {chosen!r}"
            f"{did_you_mean(chosen, [*labels, *KNOWN, LOSS])}"
        )
    if chosen is None and labels:
        chosen = labels[0]
    if chosen is not None and config.target is not None:
        _check_target(chosen, config.target)


def _check_target(metric: str, target: float) -> None:
    if traits_of_metric(metric).is_share and not 0 < target <= 1:
        raise ConfigError(f"target: {metric} is a share, so it must be in (0, 1], but is {target}")


def _check_stages(config: Settings) -> None:
    """What goes with a number of stages, and with one that is chosen by measurement."""
    is_own = config.model is not None and is_extension(config.model)
    count = config.num_stages
    if not is_own and count is not None and count > config.layers:
        raise ConfigError(
            f"stages: {count} stages need at least as many layers, but layers is {config.layers}"
        )
    if config.stages == "auto" and config.has_remote:
        raise ConfigError(
            "stages: auto counts the cores of this host, but workers are to join from others; say "
            "how many"
        )


def check_with_rule(config: Settings, traits: Traits) -> None:
    """Raises ConfigError, which names the setting, for what the run's rule does not go with.

    traits: of that rule.
    """
    if config.stages == "auto" and traits.is_lockstep:
        raise ConfigError(
            f"stages: auto looks for the fastest line, but with rule {config.rule} one stage works "
            "at a time; say how many"
        )
    if traits.is_exact and config.wire_dtype != "same":
        raise ConfigError(f"wire_dtype: rule {config.rule} is exact; links must keep the dtype")
    if config.unlock == "forward":
        _check_unlock(config, traits)
    if config.may_move:
        _check_moves(config, traits)
    _check_labels(config, traits)
    for name in ("when_full", "when_empty"):
        if getattr(config, name) != "wait" and not traits.updates_at_once:
            raise ConfigError(
                f"{name}: {getattr(config, name)} needs a rule that updates without an answer from "
                f"above, such as {_rules_that(lambda t: t.updates_at_once)}; {config.rule} does not"
            )


def _check_unlock(config: Settings, traits: Traits) -> None:
    """What goes with synthetic inputs."""
    if traits.waits_for_gradients:
        raise ConfigError(
            f"unlock: forward is for stages that wait for nothing, but with rule {config.rule} "
            f"they wait for gradients; use it with {_rules_that(lambda t: t.unlocks_forward)}"
        )
    if not traits.unlocks_forward:
        raise ConfigError(
            f"unlock: forward needs a rule that says so, and {config.rule} has no true "
            "unlocks_forward; see docs/rules.md"
        )


def _rules_that(have: Callable[[Traits], bool]) -> str:
    """The built-in rules with a trait, as ``a, b or c``; settings that rules have are defaults."""
    defaults = Settings()
    names = [n for n, rule in RULES.items() if have(traits_of(rule.made(defaults)))]
    return _listed(names, "or")


def _listed(names: list[str], word: str) -> str:
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else names[0]


def _check_labels(config: Settings, traits: Traits) -> None:
    """Who sees the labels, with rules that have synthesizers."""
    learns_labels = SYNTHESIZERS.get(config.synthesizer, OWN_SYNTHESIZER).learns_labels
    if traits.needs_labels and not learns_labels:
        able = [name for name, each in SYNTHESIZERS.items() if each.learns_labels]
        raise ConfigError(
            f"synthesizer: rule {config.rule} learns from labels at each boundary, which "
            f"{_listed(able, 'and')} do alone"
        )
    if traits.needs_synthesizer and learns_labels and not config.label_conditioning:
        raise ConfigError(
            f"label_conditioning: the {config.synthesizer} is a classifier and needs labels; "
            "use --synthesizer linear or mlp with --no-label-conditioning"
        )


def _check_synthesizer(config: Settings) -> None:
    """What goes with the synthesizer."""
    traits = SYNTHESIZERS.get(config.synthesizer, OWN_SYNTHESIZER)
    is_own = config.model is not None and is_extension(config.model)
    keeps_images = is_own or MODELS.get(config.model or "", ModelTraits()).keeps_images
    if traits.needs_images and not keeps_images:
        raise ConfigError(
            f"synthesizer: {config.synthesizer} is for activations [B, C, H, W], and this network "
            "has none; use --model cnn or a network of your own"
        )
    _check_hidden_layers(config)
    is_taught = config.targets == "bootstrap" or config.anchor_every > 0
    if config.synthesizer_warmup and not traits.learns_labels and not is_taught:
        raise ConfigError(
            "synthesizer_warmup: with anchor_every 0 no gradient comes back to learn from, and "
            "the warm-up would not end"
        )


def _check_hidden_layers(config: Settings) -> None:
    """What the synthesizer is made of."""
    traits = SYNTHESIZERS.get(config.synthesizer, OWN_SYNTHESIZER)
    usual, named = traits.hidden_layers, SYNTHESIZERS.items()
    if usual is None:
        layered = [name for name, each in named if each.hidden_layers is not None]
        copying = [name for name, each in named if each.copied_layers is not None]
        takers = {"synthesizer_layers": [*layered, *copying], "synthesizer_width": layered}
        if config.synthesizer in copying:
            del takers["synthesizer_layers"]
        for name, takes_it in takers.items():
            if getattr(config, name) is not None:
                raise ConfigError(
                    f"{name}: is of {_listed(takes_it, 'and')}, but --synthesizer is "
                    f"{config.synthesizer}"
                )
    if usual == 0 and not config.synthesizer_layers and config.synthesizer_width is not None:
        raise ConfigError(
            f"synthesizer_width: is of hidden layers, and the {config.synthesizer} has none; "
            "give it some by --synthesizer-layers"
        )


def _check_loss(config: Settings) -> None:
    """What goes with the loss."""
    is_named = config.loss in LOSSES
    if config.label_smoothing and config.loss != "cross-entropy":
        remedy = "" if is_named else "; give torch.nn.CrossEntropyLoss(label_smoothing=...) its own"
        raise ConfigError(
            f"label_smoothing: is of cross-entropy, but --loss is {config.loss}{remedy}"
        )
    takes_labels = not is_named or LOSSES[config.loss].takes == "classes"
    if config.ignore_index != Settings.ignore_index and not takes_labels:
        raise ConfigError(
            f"ignore_index: is of class labels, but --loss {config.loss} takes numbers"
        )


def _check_waiting(config: Settings) -> None:
    """What goes with when_full and when_empty."""
    for name in ("when_full", "when_empty"):
        if getattr(config, name) != "wait" and config.unlock == "forward":
            raise ConfigError(
                f"{name}: with --unlock forward no stage waits for an input, and how far it is "
                "ahead is bounded by the window; leave out one of them"
            )
    if config.when_full == "skip" and config.anchor_updates:
        raise ConfigError(
            "anchor_updates: an anchor that is skipped has no gradient of its own to update "
            "with; leave out one of --anchor-updates and --when-full skip"
        )


def _check_engine(config: Settings) -> None:
    """What goes with a Ray cluster."""
    if config.engine == "ray":
        if config.workers != ("local",):
            raise ConfigError(
                f"workers: with engine ray Ray places them all, but they are {config.workers}"
            )
        if not 0 <= config.ray_gpus < 2**31 or (config.ray_gpus > 1 and config.ray_gpus % 1):
            raise ConfigError(
                "ray_gpus: must be a fraction of a GPU or a number of whole ones, but is "
                f"{config.ray_gpus:g}"
            )
        return
    for name in ("address", "ray_gpus"):
        if getattr(config, name):
            raise ConfigError(f"{name}: is for engine ray, but that is {config.engine}")


def _check_hosts(config: Settings) -> None:
    """What goes with workers that join from elsewhere."""
    for place in config.workers or ("",):
        if place not in ("local", "remote"):
            raise ConfigError(
                f"workers: each is local or remote, but one is {place!r}"
                f"{did_you_mean(place, ('local', 'remote'))}"
            )
    if not config.has_remote:
        if config.listen is not None:
            raise ConfigError("listen: is for --workers remote, but all workers are local")
        return
    if config.listen is None and config.engine != "ray":  # which knows this node's address
        raise ConfigError(
            "workers: remote ones must know where to join; say --listen tcp://HOST:PORT"
        )
    if config.listen is not None and not is_tcp_address(config.listen):
        raise ConfigError(f"listen: must be tcp://HOST:PORT, but is {config.listen!r}")
    if config.transport == "ipc":
        raise ConfigError("transport: ipc reaches no other host; leave it auto with remote workers")


def _check_network(config: Settings) -> None:
    """What goes with the address that sockets listen on."""
    try:
        address = ipaddress.IPv4Address(config.interface)
    except ValueError:
        address = None
    if address is None or address.is_unspecified:
        raise ConfigError(
            "interface: must be one IPv4 address of this machine at which the workers can "
            f"reach it, but is {config.interface!r}"
        )
    if config.has_remote and not address.is_loopback:
        raise ConfigError("interface: with remote workers, --listen says where to listen")
    for name, is_asked in (("interface", not address.is_loopback), ("keys", bool(config.keys))):
        if is_asked and not config.over_tcp:
            raise ConfigError(f"{name}: is for --transport tcp, but that is {config.transport}")


def _check_moves(config: Settings, traits: Traits) -> None:
    """What goes with layers that move to other stages."""
    name = "rebalance" if config.rebalance == "on" else "moves"
    is_even = config.rebalance == "on" and traits.is_lockstep
    batches = [num_batches for num_batches, _ in config.asked_moves]
    for is_wrong, why in (
        (config.rebalance == "on" and config.moves, "layers move by themselves; leave out moves"),
        (is_even, f"evens out stages that work at once, but with rule {config.rule} one works"),
        (config.unlock == "forward", "layers cannot move with --unlock forward; leave out one"),
        (config.compile, "each move would compile stages anew, for minutes; leave out --compile"),
        (config.has_remote, "layers move by files that workers elsewhere do not see; leave it out"),
        (
            batches != sorted({*batches} - {0}),
            "each must come after a batch, behind the one before",
        ),
    ):
        if is_wrong:
            raise ConfigError(f"{name}: {why}")
