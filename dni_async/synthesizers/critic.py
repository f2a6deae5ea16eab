"""A local readout whose own loss, differentiated and corrected, is the synthetic gradient.

o = h A' + a, an output of the network as the activation alone tells it, and e = dL/do by the run's
own loss; for class labels a classifier, e = softmax(o) - y. Synthetic gradient g = e (A + B). A
learns by that loss from the targets of every batch, B (zero at the start) learns from returned
gradients. With B = 0 this is the gradient of the readout's loss; B bends it towards the true one.
Predicting at the loss and differentiating beats predicting the gradient (Czarnecki et al. 2017,
Sobolev training, 1706.04859). Cost: products with ten columns, one an output, instead of D.
"""

from __future__ import annotations

import torch

from dni_async.stage.autograd import without_graph
from dni_async.stage.losses.interface import Readout
from dni_async.stage.losses.readout import readout_of
from dni_async.synthesizers.by_place import ByPlaceSynthesizer
from dni_async.synthesizers.correction import Correction
from dni_async.synthesizers.deep_critic import DeepCriticSynthesizer
from dni_async.synthesizers.interface import MakeOptimizer, Order, Synthesizer
from dni_async.synthesizers.pooled import PooledSynthesizer

__all__ = ["CriticSynthesizer", "LinearReadout", "make_critic"]


class LinearReadout:
    """o = h W' + b with the weight W [K, D] and bias b [K] that it is given: g = e W.

    Of activations in a dtype of fewer digits products are computed in that one, as a layer's are
    then; W and b, and what they learn, are float32.
    """

    takes_any_float = True

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor, loss: Readout, optimize: MakeOptimizer
    ) -> None:
        self._loss, self.weight, self.bias = loss, weight, bias
        self._readout_optimizer = optimize([weight, bias])
        self._bias_column = bias.detach().unsqueeze(1)
        # Written again by every lesson: fresh memory takes longer than what is computed into it.
        self._weight_gradient = torch.empty_like(weight, requires_grad=False)
        self._bias_gradient = torch.empty_like(bias, requires_grad=False)
        self._shares = self._bias_gradient.new_zeros(0)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """W and b."""
        return [self.weight, self.bias]

    @property
    def slope(self) -> torch.Tensor:
        """By what an error is multiplied, [K, D]."""
        return self.weight

    @without_graph
    def predict(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [N, ...], per-sample units; then W takes one update.

        In the dtype of hidden.
        """
        flat = hidden if hidden.ndim == 2 else hidden.flatten(1)
        error = self._error(flat, targets)
        transposed, slope = error.t(), self.slope
        if flat.dtype != torch.float32:
            transposed, slope = transposed.to(flat.dtype), slope.to(flat.dtype)
        gradient = torch.mm(transposed, slope)
        self._leave_gradients(error, flat)
        self._readout_optimizer.update()
        return gradient if hidden.ndim == 2 else gradient.view(hidden.shape)

    @without_graph
    def compare(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The synthetic gradient of hidden [N, ...] by W alone; nothing is learnt."""
        return (self._error(hidden.flatten(1), targets).t() @ self.weight).view(hidden.shape)

    def _leave_gradients(self, error: torch.Tensor, flat: torch.Tensor) -> None:
        """Means over the samples; a product takes a quarter of the time of torch.mean."""
        num_samples, out = flat.shape[0], self._weight_gradient
        if self._shares.shape[0] != num_samples:
            self._shares = self.bias.new_full((num_samples,), 1 / num_samples)
        if flat.dtype == out.dtype:
            torch.addmm(out, error, flat, beta=0, alpha=1 / num_samples, out=out)
        else:
            out.copy_(torch.mm(error.to(flat.dtype), flat)).div_(num_samples)
        self.weight.grad = out
        self.bias.grad = torch.mv(error, self._shares, out=self._bias_gradient)

    def _error(self, flat: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """e, transposed [K, N]: the gradient of each sample's loss by what is read out.

        Outputs first: a product with ten columns takes twice as long as one with ten rows.
        """
        bias, weight = self._bias_column, self.weight
        if flat.dtype != torch.float32:
            bias, weight = bias.to(flat.dtype), weight.to(flat.dtype)
        outputs = torch.addmm(bias, weight, flat.t())
        if flat.dtype != torch.float32:
            outputs = outputs.float()
        return self._loss.sample_gradients(outputs, targets, dim=0)


class CriticSynthesizer(LinearReadout):
    """num_units: D, the values of one sample. The loss says what is read out, K outputs."""

    def __init__(
        self,
        num_units: int,
        loss: Readout,
        optimize: MakeOptimizer,
        *,
        device: torch.device | None = None,
    ) -> None:
        size = loss.readout_size
        # Drawn as a linear layer's: with zeros the first synthetic gradients would be zero too.
        bound = num_units**-0.5
        weight = torch.empty(size, num_units).uniform_(-bound, bound).to(device)
        self.correction = Correction(size, num_units, device=device)
        super().__init__(weight, torch.zeros(size, device=device), loss, optimize)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """A [K, D], a [K], and the correction's."""
        return [self.weight, self.bias, *self.correction.parameters]

    @property
    def is_corrected(self) -> torch.Tensor:
        """1 where B is used, else 0."""
        return self.correction.is_used

    @property
    def slope(self) -> torch.Tensor:
        """A + B where that is used."""
        return self.correction.add_to(self.weight)

    @without_graph
    def learn(
        self, hidden: torch.Tensor, targets: torch.Tensor, returned: torch.Tensor
    ) -> torch.Tensor:
        """One lesson of B from returned [N, ...], A held fixed."""
        error = self._error(hidden.flatten(1), targets)
        own = error.t() @ self.weight
        return self.correction.learn(error, own, returned.flatten(1)).view(hidden.shape)


def make_critic(order: Order) -> Synthesizer:
    """As deep as order asks for; of maps by place where outputs are maps; else of an image on
    regions, unless told otherwise.
    """
    config, shape = order.config, order.shape

    def make(num_units: int, readout: Readout = order.loss) -> Synthesizer:
        if not order.hidden_layers:
            return CriticSynthesizer(num_units, readout, order.optimize, device=order.device)
        return DeepCriticSynthesizer(
            num_units,
            readout,
            order.optimize,
            layers=order.hidden_layers,
            width=config.synthesizer_width,
            device=order.device,
        )

    if readout_of(shape, order.loss) == "by place":
        return ByPlaceSynthesizer(shape, order.loss, make)
    if config.synthesizer_pool and len(shape) == 3:
        return PooledSynthesizer(shape, config.synthesizer_pool, make, device=order.device)
    return make(order.num_units)
