"""Train a network for two batches in this process, as its user wrote it and as its stages will.

What differs, or raises, would only come out when workers train: it is a sentence now, before any
process starts. It runs in the caller's process on networks made for it alone.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from dni_async.config.names import OWN_SYNTHESIZER, SYNTHESIZERS
from dni_async.config.run_config import RunConfig
from dni_async.errors import ConfigError, NonFiniteError
from dni_async.network.building import layer_starts
from dni_async.network.split.parts import Chain
from dni_async.network.trial.line import Line, StageFailed, plain
from dni_async.network.trial.reference import Reference, Undone
from dni_async.network.trial.words import Words
from dni_async.stage.descent.making import make_optimizer
from dni_async.stage.descent.muon import tables_of
from dni_async.stage.draws import Draws
from dni_async.stage.dtypes import AUTOCAST_DTYPES, needs_samples
from dni_async.stage.graphs.memory import puts_channels_last
from dni_async.stage.losses.interface import Loss
from dni_async.stage.losses.readout import readout_of
from dni_async.stage.own_state import load_trained
from dni_async.stage.values import Hidden, Values, each, gathered, needing, tensors_of

__all__ = ["Batch", "try_network"]

Batch = tuple[torch.Tensor, torch.Tensor]  # inputs [B, ...] and targets
_TOLERANCE: Final = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2}


def try_network(
    make: Callable[[], nn.Sequential],
    ranges: Sequence[tuple[int, int]],
    batches: Sequence[Batch],
    config: RunConfig,
    loss: Loss,
    *,
    replays: bool,
    is_late: bool = False,
) -> None:
    """Train on batches, then save, load and evaluate; see the module.

    make: the network of the run, made anew at each call, always the same. ranges: the layers of
    each stage. replays: whether the run's rule runs batches again. is_late: whether it has
    graphs wait for gradients that come late. Raises ConfigError with what is to be changed.
    """
    with _undisturbed():
        trial = _Trial(make, ranges, plain(config), loss, is_late=is_late)
        try:
            for batch_id, batch in enumerate(batches):
                trial.train(batch_id, batch, replays=replays and batch_id > 0)
            if trial.has_sparse and config.clip_norm is not None:
                raise ConfigError(
                    "clip_norm: does not go with sparse gradients; make the embedding with "
                    "sparse=False"
                )
            trial.come_back(make(), batches[0][0])
        except NonFiniteError:
            return  # which the run will say as well, of a real batch
        except Undone as error:
            raise ConfigError(trial.words.undone(error)) from error
        except StageFailed as error:
            raise ConfigError(trial.words.failed(error)) from error


class _Trial:
    """One network, twice."""

    def __init__(
        self,
        make: Callable[[], nn.Sequential],
        ranges: Sequence[tuple[int, int]],
        config: RunConfig,
        loss: Loss,
        *,
        is_late: bool,
    ) -> None:
        network, self._other = make().train(), make().train()
        starts = layer_starts(network)
        self.words = Words(network, [*starts, len(network)], ranges, config.model)
        _check_same(network, self._other)
        self._autocast = AUTOCAST_DTYPES[config.dtype]
        self._config, self._loss, self._is_late = config, loss, is_late
        self._dtypes = [torch.float32, *filter(None, [self._autocast])]
        self._sizes: dict[tuple[int, int], torch.Size] = {}  # of a sample, by stage and value
        self._line = Line(make, ranges, config, loss)
        self._referred = partial(Reference, puts_channels_last=puts_channels_last(config))
        self._reference = self._referred(network, Draws(config.seed, 0, starts), starts)
        self._trace: Any = None
        self.has_sparse = False  # a gradient
        self._optimizer = make_optimizer(
            list(network.named_parameters()), config, tables=tables_of(network)
        )

    def train(self, batch_id: int, batch: Batch, *, replays: bool) -> None:
        """One update of both, from the same weights. Raises ConfigError where they differ."""
        x, targets = batch
        with self._as_in_the_run():
            expected = self._reference.forward(batch_id, x)
        self._trace = _rolled(x)
        outputs = self._line.forward(
            batch_id, x, replays=replays, is_late=self._is_late, between=self._leave_other_traces
        )
        self._compare_outputs(expected, outputs)
        head = self._line.stages[-1]
        self._check_values(tuple(targets.shape[: self._loss.sample_dims(targets)]))
        try:
            gradient = head.loss_gradient(batch_id, targets)[1]
        except NonFiniteError:
            raise
        except Exception as error:  # whatever a function of the user's raises
            raise ConfigError(
                f"loss: of the trial's batch {batch_id} it raised {error!r}"
            ) from error
        gradients = self._reference.pull_back(gradient)
        self.has_sparse |= any(each.layout != torch.strided for each in gradients.values())
        self._line.pull_back(batch_id, gradient)
        self._compare_gradients(gradients, replays=replays)
        self._update()

    def come_back(self, fresh: nn.Sequential, x: torch.Tensor) -> None:
        """Evaluate, and do so again with all that travels put into a fresh network."""
        state = self._line.own_state()
        if state.left:
            raise ConfigError(self.words.left(*next(iter(state.left.items()))))
        self._reference.network.eval()
        expected = self._evaluated(self._reference, x)
        _set_generators()
        self._compare_outputs(expected, self._line.evaluate(x), mode="evaluation")
        try:
            whole = fresh.whole if isinstance(fresh, Chain) else fresh
            load_trained(whole, self._line.weights(), state)
        except Exception as error:
            raise ConfigError(self.words.not_loaded(error)) from error
        fresh.eval()
        whole.eval()
        returned = self._referred(fresh, Draws(0, 0, []), [])
        came_back = self._evaluated(returned, x)
        for index, hidden in enumerate(self._line.hidden):
            again = returned.outputs.get(self.words.last_child(index))
            if again is not None and _any_differ(again, hidden):
                raise ConfigError(self.words.lost(index))
        if _differ(came_back, expected):
            raise ConfigError(self.words.lost(None))

    def _evaluated(self, network: Reference, x: torch.Tensor) -> torch.Tensor:
        """What network, in evaluation mode, makes of x; one that draws then draws the same."""
        _set_generators()
        with torch.no_grad(), self._as_in_the_run():
            return network.forward(0, x)

    @torch.no_grad()
    def _leave_other_traces(self, stage: int) -> None:
        """Pass other samples through what is below stage, in another network.

        So what goes from child to child through a global comes from those.
        """
        if stage > 0:
            with suppress(Exception):
                for child in self.words.children(stage - 1):
                    self._trace = self._other[child](self._trace)

    def _check_values(self, leading: tuple[int, ...]) -> None:
        """What passes between stages can be learnt from; leading: the samples' shape."""
        for stage, hidden in enumerate(self._line.hidden[:-1]):
            if self._config.unlock == "forward" and isinstance(hidden, Values):
                raise ConfigError(self.words.several_values(stage))
            for place, value in enumerate(needing(hidden)):
                is_samples = value.ndim > len(leading) and value.shape[: len(leading)] == leading
                if value.dtype not in self._dtypes:
                    raise ConfigError(self.words.other_dtype(stage, value, self._dtypes))
                if not is_samples and needs_samples(self._config):
                    raise ConfigError(self.words.no_samples(stage, value, leading))
                size = value.shape[len(leading) :]
                first = self._sizes.setdefault((stage, place), size)
                if size != first and self._needs_one_size(tuple(first)):
                    raise ConfigError(self.words.other_size(stage, first, size))

    def _needs_one_size(self, shape: tuple[int, ...]) -> bool:
        """Whether what predicts gradients is made for samples of this shape alone."""
        name = self._config.synthesizer
        is_by_place = name == "critic" and readout_of(shape, self._loss) == "by place"
        takes_any_size = is_by_place or SYNTHESIZERS.get(name, OWN_SYNTHESIZER).takes_any_size
        return self._config.rule_traits.needs_synthesizer and not takes_any_size

    def _compare_outputs(
        self, expected: object, outputs: Hidden, *, mode: str = "training"
    ) -> None:
        if not isinstance(expected, torch.Tensor) or not isinstance(outputs, torch.Tensor):
            raise ConfigError(self.words.no_tensor(expected))
        for index, hidden in enumerate(self._line.hidden):
            known = self._reference.outputs.get(self.words.last_child(index))
            if known is not None and _any_differ(known, hidden):
                raise ConfigError(self.words.other_outputs(index, mode))
        if _differ(expected, outputs):
            raise ConfigError(self.words.other_outputs(None, mode))

    def _compare_gradients(self, expected: dict[str, torch.Tensor], *, replays: bool) -> None:
        """From the head down, as gradients go."""
        for stage in reversed(self._line.stages):
            for name, parameter in stage.layers.named_parameters():
                known, found = expected.get(name), parameter.grad
                if known is None and found is None:
                    continue
                if known is None or found is None or _differ(known, found):
                    raise ConfigError(self.words.other_gradient(name, replays=replays))

    @torch.no_grad()
    def _update(self) -> None:
        """Apply both gradients; then exactly the same weights, so that no rounding adds up."""
        try:
            self._optimizer.update()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(self.words.no_update(error)) from error
        named = dict(self._reference.network.named_parameters())
        for stage in self._line.stages:
            stage.apply()
            stage.updates.memory()  # which checkpoints hold
            for name, parameter in stage.layers.named_parameters():
                parameter.copy_(named[name])

    @contextmanager
    def _as_in_the_run(self) -> Iterator[None]:
        with torch.autocast("cpu", self._autocast, enabled=self._autocast is not None):
            yield


def _rolled(x: Any) -> Any:
    """The samples in another order."""
    rolled = each(gathered(x), lambda tensor: tensor.roll(1, 0) if tensor.ndim else tensor)
    return rolled.restored() if isinstance(rolled, Values) else rolled


def _check_same(network: nn.Sequential, again: nn.Sequential) -> None:
    """Raises ConfigError if a factory makes another network each time."""
    weights = again.state_dict()
    for name, tensor in network.state_dict().items():
        other = weights.get(name)
        if isinstance(tensor, torch.Tensor) and (other is None or _differ(tensor, other)):
            raise ConfigError(
                f"model: what it makes differs from call to call in {name}, but each worker makes "
                "its own; draw from torch's generator alone, which the run's seed sets"
            )


def _any_differ(known: Sequence[torch.Tensor], hidden: Hidden) -> bool:
    values = tensors_of(hidden)
    return len(known) != len(values) or any(map(_differ, known, values))


def _differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are further apart than rounding explains."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return True
    one, other = (t.to_dense() if t.layout != torch.strided else t for t in (one, other))
    if torch.equal(one, other) or not one.is_floating_point():
        return not torch.equal(one, other)
    tolerance = _TOLERANCE.get(one.dtype, 1e-2)
    one, other = one.double(), other.double()
    if not torch.equal(one.isfinite(), other.isfinite()):
        return True
    distance = (one - other).nan_to_num().norm()
    return bool(distance > tolerance * one.nan_to_num().norm() + 1e-30)


def _set_generators() -> None:
    torch.default_generator.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What runs in here draws nothing from the caller's generators, and warns nobody.

    In one thread: so few numbers are soon done, and threads may have to wait for a core.
    """
    num_threads = torch.get_num_threads()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(num_threads)
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
