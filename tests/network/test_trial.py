"""What a trial finds before any process starts, and what it lets pass, without a process."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dni_async import ConfigError, RunConfig
from dni_async.network.building import layer_starts
from dni_async.network.trial.trial import try_network
from dni_async.stage.losses.catalog import make_loss

WIDTH = 6


def linear() -> nn.Linear:
    """A layer that fits behind and before itself."""
    return nn.Linear(WIDTH, WIDTH)


class Module(nn.Module):
    """A linear layer, to be made into something else."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear()
        self.count: Any = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        result: torch.Tensor = self.inner(x)
        return result


# --- what trains as it is ------------------------------------------------------------------------


class InPlace(Module):
    """Writes into its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W (2 x), and the input is doubled."""
        return super().forward(x.mul_(2))


class Annealed(Module):
    """Keeps a temperature as a Python value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x, divided by what grows."""
        self.count += self.training
        return super().forward(x) / (1 + self.count)


class Skipped(Module):
    """Is left out half of the time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x or x."""
        return super().forward(x) if random.random() < 0.5 else x


class Checkpointed(Module):
    """A reentrant checkpoint."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        result: torch.Tensor = checkpoint(self.inner, x, use_reentrant=True)
        return result


class Hidden(Module):
    """Counts in a buffer that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x + how many batches were seen."""
        if self.training:
            self.seen += 1
        return super().forward(x) + self.seen


class Harmless(nn.Sequential):
    """A forward of its own that does what the line does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All children."""
        result: torch.Tensor = super().forward(x.float())
        return result


def kept_apart(module: Callable[[], nn.Module]) -> nn.Sequential:
    """A module in a line."""
    return nn.Sequential(linear(), module(), nn.ReLU(), module(), linear())


def masked() -> nn.Module:
    """Some weights stay zero, by a hook on their gradient."""
    layer = linear()
    layer.weight.register_hook(lambda gradient: gradient.tril())
    return layer


def hooked() -> nn.Sequential:
    """A container's hook that changes nothing."""
    network = kept_apart(linear)
    network.register_forward_hook(lambda _module, _inputs, output: output)
    return network


class Pooled(nn.Module):
    """The mean over an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C] of [B, C, H, W]."""
        return x.mean((2, 3))


class Split(Module):
    """Gives several values, of which two need a gradient."""

    def forward(self, x: torch.Tensor) -> Any:
        """W x, x, where x is positive, and a scalar."""
        return super().forward(x), {"x": x, "mask": x > 0, "scale": torch.tensor(0.5)}


class Wrapped(Module):
    """Gives itself, with what it made."""

    def forward(self, x: torch.Tensor) -> Any:
        """W x."""
        self.__dict__["made"] = super().forward(x)
        return self


class Unwrapped(Module):
    """Takes what another module holds."""

    def forward(self, given: Any) -> torch.Tensor:
        """W W x."""
        return super().forward(given.__dict__.pop("made"))


class Doubled(Split):
    """Another of them is of another dtype."""

    def forward(self, x: torch.Tensor) -> Any:
        """A float64 copy."""
        hidden, given = super().forward(x)
        return hidden, {**given, "copy": hidden.double()}


class Sized(Split):
    """One of them is of no sample."""

    def forward(self, x: torch.Tensor) -> Any:
        """The scale is learnt."""
        hidden, given = super().forward(x)
        return hidden, {**given, "scale": self.inner.bias[0]}


class Merged(Module):
    """Takes them together again; others: relays them first."""

    def __init__(self, *, relays: bool = False) -> None:
        super().__init__()
        self.relays = relays

    def forward(self, values: Any) -> Any:
        """W h + mask x scale."""
        hidden, given = values
        hidden = super().forward(hidden)
        if self.relays:
            return hidden, given
        return hidden + given["mask"] * given["x"] * given["scale"]


def tied() -> nn.Sequential:
    """The second and third layer have one weight."""
    network = nn.Sequential(linear(), linear(), nn.Sequential(linear()), linear())
    network[2][0].weight = network[1].weight  # type: ignore[index,union-attr]
    return network


TRAINS: dict[str, Callable[[], nn.Sequential]] = {
    "in place": lambda: nn.Sequential(InPlace(), linear(), InPlace(), linear()),
    "relu in place": lambda: nn.Sequential(linear(), nn.Sequential(nn.ReLU(True), linear())),
    "annealed": lambda: kept_apart(Annealed),
    "skipped": lambda: kept_apart(Skipped),
    "checkpointed": lambda: kept_apart(Checkpointed),
    "hidden buffer": lambda: kept_apart(Hidden),
    "harmless": lambda: Harmless(linear(), linear()),
    "container's hook": hooked,
    "gradient's hook": lambda: kept_apart(masked),
    "frozen": lambda: kept_apart(lambda: nn.Sequential(linear().requires_grad_(False), linear())),
    "dropout, norms": lambda: kept_apart(
        lambda: nn.Sequential(linear(), nn.Dropout(), nn.BatchNorm1d(WIDTH), nn.LayerNorm(WIDTH))
    ),
    "weight norm": lambda: kept_apart(lambda: nn.utils.parametrizations.weight_norm(linear())),
    "spectral norm": lambda: kept_apart(lambda: nn.utils.parametrizations.spectral_norm(linear())),
    "orthogonal": lambda: kept_apart(lambda: nn.utils.parametrizations.orthogonal(linear())),
    "lstm": lambda: nn.Sequential(
        nn.Unflatten(1, (1, WIDTH)), nn.Sequential(nn.LSTM(WIDTH, WIDTH), Last()), linear()
    ),
    "lstm in the line": lambda: nn.Sequential(
        nn.Unflatten(1, (1, WIDTH)), nn.LSTM(WIDTH, WIDTH), Last(), linear()
    ),
    "several values": lambda: nn.Sequential(
        linear(), Split(), Merged(relays=True), Merged(), Split(), Merged()
    ),
}


class Last(nn.Module):
    """Of a recurrent layer, the outputs of the last position."""

    def forward(self, outputs: tuple[torch.Tensor, object]) -> torch.Tensor:
        """[B, D] of [B, T, D]."""
        return outputs[0][:, -1]


def samples(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two batches."""
    draw = torch.Generator().manual_seed(0)
    return [
        (torch.randn(count, WIDTH, generator=draw), torch.randint(WIDTH, (count,), generator=draw))
        for _ in range(2)
    ]


def attempt(
    make: Callable[[], nn.Sequential],
    *,
    replays: bool = False,
    is_late: bool = False,
    ranges: list[tuple[int, int]] | None = None,
    batches: list[tuple[torch.Tensor, torch.Tensor]] | None = None,
    **settings: Any,
) -> None:
    """Try a network of these weights, a stage for each layer if nothing else is said."""

    def seeded() -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make()

    count = len(layer_starts(seeded()))
    try_network(
        seeded,
        ranges or [(layer, layer + 1) for layer in range(count)],
        samples(5) if batches is None else batches,
        RunConfig(**settings),
        make_loss("cross-entropy", (WIDTH,)),
        replays=replays,
        is_late=is_late,
    )


@pytest.mark.parametrize("way", [{}, {"replays": True}, {"is_late": True}], ids=str)
@pytest.mark.parametrize("make", TRAINS.values(), ids=TRAINS.keys())
def test_what_plain_torch_trains(make: Callable[[], nn.Sequential], way: dict[str, bool]) -> None:
    attempt(make, **way)


@pytest.mark.parametrize("settings", [{"dtype": "bf16"}, {"optimizer": "sgd"}, {"clip_norm": 0.1}])
def test_settings_that_make_no_difference_to_a_trial(settings: dict[str, Any]) -> None:
    attempt(TRAINS["dropout, norms"], **settings)


def test_a_trial_draws_nothing_from_the_callers_generators_and_keeps_the_samples() -> None:
    before, batches = (torch.get_rng_state(), random.getstate()), samples(5)
    attempt(lambda: nn.Sequential(InPlace(), Skipped(), nn.Dropout()), batches=batches)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert torch.equal(batches[0][0], samples(5)[0][0])


# --- what is said before the start ---------------------------------------------------------------


class OwnForward(nn.Sequential):
    """Adds what no child knows of."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A skip."""
        result: torch.Tensor = super().forward(x) + x
        return result


def container_with(register: str, hook: Callable[..., Any]) -> nn.Sequential:
    """A hook on the container."""
    network = kept_apart(linear)
    getattr(network, register)(hook)
    return network


class Put(Module):
    """Leaves its output in an object."""

    def __init__(self, store: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.store = store

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        self.store["x"] = super().forward(x)
        return self.store["x"]


class Get(Put):
    """Adds what it finds there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x + what was put."""
        return Module.forward(self, x) + self.store["x"]


class MayGet(Put):
    """Adds what it finds, if anything."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x + what was put."""
        return Module.forward(self, x) + self.store.get("x", 0.0)


GLOBAL: dict[str, torch.Tensor] = {}


def skip(get: type[Put], store: Callable[[], dict[str, torch.Tensor]]) -> nn.Sequential:
    """A skip over one layer, through an object."""
    shared = store()
    return nn.Sequential(Put(shared), linear(), get(shared))


class History(Module):
    """Keeps what cannot travel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        if not isinstance(self.count, random.Random):
            self.count = random.Random(0)
        return super().forward(x) * self.count.random()


class OwnGenerator(Module):
    """Draws where nobody can set it."""

    generator = torch.Generator()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x, times what is drawn."""
        return super().forward(x) * torch.rand(x.shape, generator=self.generator)


class OnlyEvaluates(Module):
    """What only training shows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x, or an error."""
        if self.training:
            raise ValueError("no luck\nat all")
        return super().forward(x)


class Forgotten(Module):
    """Keeps what training changes where nobody looks for it."""

    seen: dict[int, float] = {}  # noqa: RUF012

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x + how many batches were seen by this very object."""
        self.seen[id(self)] = self.seen.get(id(self), 0.0) + 5.0 * self.training
        return super().forward(x) + self.seen[id(self)]


class Renamed(Module):
    """Has another buffer after training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x."""
        if self.training:
            self.register_buffer("late", torch.zeros(1))
        return super().forward(x)


class DetachedTwin(Module):
    """A skipped container's backward hook would do this."""


REFUSED: dict[str, tuple[Callable[[], nn.Sequential], str]] = {
    "own forward": (
        lambda: OwnForward(linear(), linear()),
        (
            "model: OwnForward has a forward of its own, so in training it is not its children one "
            "after another"
        ),
    ),
    "pre-hook": (
        lambda: container_with("register_forward_pre_hook", lambda _m, x: (x[0] * 2,)),
        "model: Sequential has a hook of its own",
    ),
    "backward hook": (
        lambda: container_with(
            "register_full_backward_pre_hook", lambda _m, gradient: (gradient[0] * 2,)
        ),
        "model: Sequential has a hook of its own, and the gradient of",
    ),
    "a value without samples": (
        lambda: nn.Sequential(linear(), Sized(), Merged(), linear()),
        (
            "model: child 1 (Sized) gives torch.float32 [] that needs a gradient, which must be "
            "[5, ...] for a synthesizer; detach it, put who gives it"
        ),
    ),
    "a class of its own": (
        lambda: nn.Sequential(linear(), Wrapped(), Unwrapped()),
        (
            "model: child 1 (Wrapped) gives a Wrapped; between stages pass tensors, or tuples, "
            "lists and dicts of tensors and plain values; or put who takes it into the same stage"
        ),
    ),
    "other numbers": (
        lambda: nn.Sequential(linear(), Doubled(), Merged(), linear()),
        (
            "model: child 1 (Doubled) gives torch.float64 that needs a gradient, but this run "
            "computes in torch.float32; cast it before it is given"
        ),
    ),
    "skip by KeyError": (
        lambda: skip(Get, dict),
        (
            "model: child 2 (Get) raises where it runs apart from the others: KeyError: 'x'; "
            "children 0 and 2 share a dict"
        ),
    ),
    "skip without a word": (
        lambda: skip(MayGet, dict),
        (
            "model: child 2 (MayGet) gives something else in training where it runs apart from the "
            "others; children 0 and 2 share a dict"
        ),
    ),
    "skip through a global": (
        lambda: skip(Get, lambda: GLOBAL),
        "model: child 2 (Get) gives something else in training",
    ),
    "attribute": (
        lambda: kept_apart(History),
        (
            "model: child 1 (History) changes its attribute 'count' in training, but a "
            "Random cannot come back"
        ),
    ),
    "raises in training": (
        lambda: kept_apart(OnlyEvaluates),
        "model: child 1 (OnlyEvaluates) raises in training: ValueError: no luck at all",
    ),
    "lost": (
        lambda: kept_apart(Forgotten),
        "gives something else once its weights are saved and loaded",
    ),
    "renamed": (lambda: kept_apart(Renamed), "cannot be put into a new one"),
    "shared state": (
        functools.partial(lambda: _twice(Annealed)),
        "model:",
    ),
}


def _twice(module: type[Annealed]) -> nn.Sequential:
    """A module without parameters that counts, in two places."""
    counted = module()
    counted.inner = nn.Identity()  # type: ignore[assignment]
    return nn.Sequential(linear(), counted, linear(), counted, linear())


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_train_otherwise(make: Callable[[], nn.Sequential], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)) as caught:
        attempt(make)
    assert "\n" not in str(caught.value)


def test_a_generator_of_a_modules_own_only_matters_where_batches_are_run_again() -> None:
    with pytest.raises(ConfigError, match=r"gives something else in training|does not repeat"):
        attempt(lambda: kept_apart(OwnGenerator), replays=True)


def test_a_skip_within_one_stage_trains() -> None:
    attempt(lambda: skip(Get, dict), ranges=[(0, 3)])
    attempt(lambda: nn.Sequential(linear(), *skip(MayGet, dict)), ranges=[(0, 1), (1, 4)])


@pytest.mark.parametrize("rule", ["backprop", "fdg"])
def test_a_rule_without_synthesizers_takes_values_that_are_no_samples(rule: str) -> None:
    make = REFUSED["a value without samples"][0]
    attempt(make, rule=rule, is_late=rule == "fdg")
    with pytest.raises(ConfigError, match="that needs a gradient"):
        attempt(make, rule="fdg", wire_dtype="int8")


def test_a_network_may_take_several_inputs() -> None:
    batches = [((x, {"x": x, "mask": x > 0, "scale": x[:1, 0]}), y) for x, y in samples(5)]
    attempt(
        lambda: nn.Sequential(Merged(relays=True), Merged(), linear()),
        batches=batches,  # type: ignore[arg-type]
    )


def test_within_a_stage_anything_passes() -> None:
    attempt(REFUSED["a class of its own"][0], ranges=[(0, 1), (1, 3)])


def test_weights_that_are_tied_within_a_stage() -> None:
    attempt(tied, ranges=[(0, 1), (1, 3), (3, 4)])


def test_inputs_of_several_values_are_not_predicted() -> None:
    sentence = r"unlock: forward predicts inputs .* but child 1 \(Split\) gives several values"
    with pytest.raises(ConfigError, match=sentence):
        attempt(lambda: nn.Sequential(linear(), Split(), Merged()), unlock="forward")


@pytest.mark.parametrize(
    "settings", [{}, {"rule": "fdg"}, {"rule": "backprop"}, {"synthesizer": "conv", "model": "cnn"}]
)
def test_samples_of_several_sizes_need_a_rule_that_takes_them(settings: dict[str, Any]) -> None:
    def make() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, WIDTH, 1), Pooled())

    batches = [(torch.randn(5, 1, size, 4), torch.arange(5)) for size in (3, 6)]
    if settings:
        attempt(make, batches=batches, **settings)
        return
    sentence = r"child 0 \(Conv2d\) gives samples \[4, 3, 4\] of one batch and \[4, 6, 4\] of an"
    with pytest.raises(ConfigError, match=sentence):
        attempt(make, batches=batches)


def test_a_factory_that_draws_elsewhere() -> None:
    def make() -> nn.Sequential:
        network = kept_apart(linear)
        nn.init.constant_(network[0].weight, random.random())  # type: ignore[arg-type]
        return network

    with pytest.raises(ConfigError, match=r"model: what it makes differs from call to call in 0\."):
        attempt(make)


IDS = [(torch.randint(9, (5, 3), generator=torch.Generator().manual_seed(0)), torch.arange(5))] * 2


def embedding() -> nn.Sequential:
    """Sparse gradients."""
    return nn.Sequential(
        nn.Embedding(9, 4, sparse=True), nn.Sequential(nn.Flatten(), nn.Linear(12, WIDTH))
    )


def test_sparse_gradients_go_with_the_optimizers_that_take_them() -> None:
    for momentum in (0.0, 0.9):
        attempt(embedding, batches=IDS, optimizer="sgd", momentum=momentum)
    with pytest.raises(ConfigError, match=r"optimizer: .*sparse") as caught:
        attempt(embedding, batches=IDS, optimizer="adam")
    assert "sparse=False" in str(caught.value)
    with pytest.raises(ConfigError, match=r"clip_norm: .*sparse"):
        attempt(embedding, batches=IDS, optimizer="sgd", clip_norm=1.0)
