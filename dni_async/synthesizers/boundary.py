"""The lower side of a boundary: predict a gradient now, learn when the returned one arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from dni_async.errors import ConfigError
from dni_async.stage.descent.optimizers import Optimizer
from dni_async.stage.losses.interface import Loss
from dni_async.stage.values import Gradient, Hidden, Values, as_gradient, gradients_of
from dni_async.synthesizers.agreement import Comparison
from dni_async.synthesizers.interface import Synthesizer

__all__ = ["WHOLE", "Boundary"]

WHOLE: Final = -1
"""The place of a synthesizer that takes the one activation as it is, and no samples of it."""

_MakeWhole = Callable[[tuple[int, ...]], Synthesizer | None]


class Boundary:
    """Owns the synthesizers of one boundary: one for each value that needs a gradient.

    Gradients on this surface are of the batch's mean loss and have the activation's dtype;
    inside, the synthesizer works in per-sample units and float32, but for one that says that it
    takes_any_float: it predicts in what the activation is in. The loss says what a sample is:
    a row, or each of B T positions of an activation [B, T, ...]. make_synthesizer is called with
    the shape of one sample, at the first value of each place. make_whole: is called before, where
    there is one activation [B, *shape] and no several values, with that shape; what it makes takes
    activation and targets as they are, and there is no other synthesizer then. scale: multiplies
    what is predicted. shapes: by place among the values, for what samples there is a synthesizer;
    at WHOLE the shape of an activation.

    comparison: of each gradient learnt from with what the synthesizer, as it then is, gives for
    that activation, before it learns and unscaled; several values count as one vector. A
    synthesizer whose learn gives nothing is not compared. optimizers: those by which synthesizers
    learn, in the order in which those are made. takes_any_size: samples may change in shape.
    """

    def __init__(
        self,
        make_synthesizer: Callable[[tuple[int, ...]], Synthesizer],
        loss: Loss,
        *,
        scale: float = 1.0,
        optimizers: Sequence[Optimizer] = (),
        takes_any_size: bool = False,
        make_whole: _MakeWhole | None = None,
    ) -> None:
        self._make, self._make_whole = make_synthesizer, make_whole
        self._loss = loss
        self._scale = scale
        self._optimizers = optimizers
        self._takes_any_size = takes_any_size
        self.shapes: dict[int, tuple[int, ...]] = {}
        self._made: dict[int, Synthesizer] = {}
        self.comparison = Comparison()

    def predict(self, hidden: Hidden, targets: torch.Tensor) -> Gradient:
        """The synthetic gradient of the mean loss, shaped as hidden [B, ...].

        Of several values: of each that needs one, in order. Raises ConfigError where the samples'
        shape is another than at first, and the synthesizer is made for that alone.
        """
        plain = self._of_rows(hidden, targets)
        if plain is not None:
            assert isinstance(hidden, torch.Tensor)
            takes_any = getattr(plain, "takes_any_float", False)
            gradient = plain.predict(hidden if takes_any else hidden.float(), targets)
            gradient.mul_(self._scale / targets.shape[0])
            return gradient if takes_any else gradient.to(hidden.dtype)
        gradients = []
        for part in self._parts(hidden, targets):
            gradient = part.synthesizer.predict(part.samples, part.targets)
            gradient = gradient.mul_(self._scale / part.num_samples)
            gradients.append(gradient.view_as(part.value).to(part.value.dtype))
        return as_gradient(hidden, gradients)

    def learn(self, hidden: Hidden, targets: torch.Tensor, returned: Gradient) -> None:
        """One update of each synthesizer from the returned gradient of the batch's mean loss.

        Where samples are positions, one that can do without learns nothing and is compared alone:
        bent towards the truth it taught worse (docs/decisions/0122).
        """
        pairs, corrected = [], []
        are_positions = self._loss.sample_dims(targets) > 1
        parts = self._parts(hidden, targets)
        for part, gradient in zip(parts, gradients_of(returned), strict=True):
            wanted = gradient.reshape(part.samples.shape).float() * part.num_samples
            is_corrected = getattr(part.synthesizer, "is_corrected", None)
            compare = getattr(part.synthesizer, "compare", None) if are_positions else None
            if compare is not None:
                synthetic = compare(part.samples, part.targets)
            else:
                synthetic = part.synthesizer.learn(part.samples, part.targets, wanted)
            if synthetic is not None:
                pairs.append((synthetic, wanted))
                corrected += [] if is_corrected is None else [is_corrected]
        if pairs:
            self.comparison.add_values(pairs, corrected)

    def make(self, shape: tuple[int, ...], place: int = 0) -> Synthesizer:
        """The synthesizer of a value, made for samples of that shape if there is none yet.

        At WHOLE, of activations [B, *shape]. Raises ConfigError where there is to be none of those.
        """
        if place == WHOLE and self._whole(shape) is None:
            raise ConfigError(
                f"synthesizer: nothing above takes an activation [B, {', '.join(map(str, shape))}]"
            )
        if place not in self._made:
            self._made[place], self.shapes[place] = self._make(shape), shape
        return self._made[place]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All parameters and what the optimizers remember, by number; not copied.

        Numbered in the order in which synthesizers were made; nothing until one is.
        """
        parameters = [tensor for made in self._made.values() for tensor in made.parameters]
        found = {f"parameter/{i}": tensor for i, tensor in enumerate(parameters)}
        for number, optimizer in enumerate(self._optimizers):
            for i, remembered in enumerate(optimizer.tensors()):
                found |= {f"{kind}-{number}/{i}": tensor for kind, tensor in remembered.items()}
        return found

    def _of_rows(self, hidden: Hidden, targets: torch.Tensor) -> Synthesizer | None:
        """What takes an activation as it is: most often its rows are the samples, and it has been
        made. So all that _parts would find out is known.
        """
        if not isinstance(hidden, torch.Tensor) or not hidden.is_floating_point():
            return None
        if self._loss.sample_dims(targets) != 1:
            return None
        place = WHOLE if WHOLE in self._made else 0
        return self._made.get(place) if self.shapes.get(place) == hidden.shape[1:] else None

    def _parts(self, hidden: Hidden, targets: torch.Tensor) -> Iterator[_Part]:
        """Each value that needs a gradient, as its synthesizer takes it."""
        num_dims = self._loss.sample_dims(targets)
        num_samples = targets.shape[:num_dims].numel()
        if isinstance(hidden, torch.Tensor):
            whole = self._whole(tuple(hidden.shape[1:]))
            if whole is not None:
                yield _Part(hidden, hidden.float(), targets, num_samples, whole)
                return
        rows = targets.flatten(0, num_dims - 1)
        for place, value in _taught(hidden):
            samples = value.flatten(0, num_dims - 1).float()
            yield _Part(value, samples, rows, num_samples, self._synthesizer(place, samples))

    def _whole(self, shape: tuple[int, ...]) -> Synthesizer | None:
        """What takes activations [B, *shape] as they are, if anything does.

        Made only once, and not where samples have a synthesizer, which a checkpoint brought.
        """
        make, self._make_whole = self._make_whole, None
        found = None if make is None or self._made else make(shape)
        if found is not None:
            self._made[WHOLE], self.shapes[WHOLE] = found, shape
        return self._made.get(WHOLE)

    def _synthesizer(self, place: int, samples: torch.Tensor) -> Synthesizer:
        shape = tuple(samples.shape[1:])
        made = self.make(shape, place)
        takes_any_size = self._takes_any_size or getattr(made, "takes_any_size", False)
        if self.shapes[place] != shape and not takes_any_size:
            raise ConfigError(
                f"synthesizer: it is made for samples {list(self.shapes[place])}, but of a later "
                f"batch they are {list(shape)}; pad all batches to one size, or take --rule fdg"
            )
        return made


@dataclass(frozen=True, slots=True)
class _Part:
    """A value of a batch, and what its synthesizer is given of it and of the targets."""

    value: torch.Tensor
    samples: torch.Tensor
    targets: torch.Tensor
    num_samples: int
    synthesizer: Synthesizer


def _taught(hidden: Hidden) -> Iterator[tuple[int, torch.Tensor]]:
    """Each value that needs a gradient, and its place among all."""
    if isinstance(hidden, Values):
        yield from ((place, hidden.tensors[place]) for place in hidden.structure.needs)
    else:
        yield 0, hidden
