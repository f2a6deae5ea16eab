"""The trained network out of the run directory, and whether it is the one that was reported on."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING, Any

from dni_async.config.extensions import is_extension
from dni_async.config.metric_names import LOSS, traits_of_metric
from dni_async.errors import DniError
from dni_async.files.beside import read_values
from dni_async.files.reading import check_regular
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.report.rows import figure_text
from dni_async.launcher.run_folder.best import best_state
from dni_async.launcher.run_folder.folder import RunFolder

if TYPE_CHECKING:
    from dni_async.stage.losses.metrics.examination import Measured

__all__ = ["best_network", "disagreement", "trained_figures", "trained_network", "trained_state"]

# How far figures may be apart: of a share, beside two samples, and of others, relative; then where
# numbers are rounded on the way, or another device computes.
SHARE, PART = 0.005, 0.01
LOOSE_SHARE, LOOSE_PART = 0.02, 0.1
FEW = 200  # test samples, where it is not known how many there are
LEAST = 1e-4  # differences of which are rounding, however small the figures


def trained_network(plan: Plan, folder: RunFolder) -> Any:
    """The network (nn.Module) as its user wrote it, with all that training changed, on the CPU."""
    return _with(plan, *trained_state(folder))


def best_network(plan: Plan, folder: RunFolder) -> Any:
    """The same, as it was when it was tested best, in evaluation mode; None where none was kept."""
    found = best_state(folder.checkpoints)
    return None if found is None else _with(plan, *found).eval()


def _with(plan: Plan, weights: dict[str, Any], state: Any) -> Any:
    from dni_async.network.building import build_module
    from dni_async.stage.own_state import load_trained

    network = build_module(plan.config, plan.input_shape, plan.form.output_shape)
    try:
        load_trained(network, weights, state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DniError(
            f"model: what the stages left does not go into the network: {error!r}; it stays in the "
            "run directory"
        ) from error
    return network


def trained_state(folder: RunFolder) -> tuple[dict[str, Any], Any]:
    """The weights, by the names of the network's state dict, and the OwnState beside them."""
    import safetensors.torch

    from dni_async.stage.own_state import OwnState

    state = OwnState()
    if folder.model_state.exists():
        values = read_values(folder.model_state)
        state = OwnState(values, safetensors.torch.load_file(folder.model_state))
    check_regular(folder.model)
    return safetensors.torch.load_file(folder.model), state


def trained_figures(plan: Plan, folder: RunFolder) -> tuple[float | None, dict[str, float]]:
    """Loss and metrics of the trained network on all test samples; None and none of no samples."""
    if plan.num_test == 0:
        return None, {}
    found = _tested(plan, folder)
    return found.loss, found.metrics


def disagreement(plan: Plan, folder: RunFolder, result: RunResult) -> str | None:
    """What to say if the trained network does not test as was reported of it; None if it does.

    Only a network of the user's own is tested, and only where the last epoch was the last word: a
    run that ends early makes a few updates after its last test.
    """
    model = plan.config.model
    is_own = model is not None and is_extension(model)
    if plan.num_test == 0:
        return None
    if not is_own or not result.epochs or result.epochs[-1].epoch != plan.config.epochs:
        return None
    last, found = result.epochs[-1], _tested(plan, folder)
    figures = {LOSS: last.test_loss, **last.test_metrics}
    figures_again = {LOSS: found.loss, **found.metrics}
    for name in dict.fromkeys((plan.config.goal.metric, LOSS)):
        reported, again = figures.get(name), figures_again.get(name)
        if reported is None or again is None or _agree(plan, name, reported, again):
            continue
        return (
            f"model: the trained network that comes back has {figure_text(name, again)} test "
            f"{name}, but {figure_text(name, reported)} was reported: something that training "
            "changed did not come back with it"
        )
    return None


def _agree(plan: Plan, name: str, one: float, other: float) -> bool:
    """Whether two values of a figure are as near as rounding may leave them."""
    if not (math.isfinite(one) and math.isfinite(other)):
        return repr(one) == repr(other)
    is_exact = _is_same_arithmetic(plan)
    if traits_of_metric(name).is_share:
        allowed = (SHARE if is_exact else LOOSE_SHARE) + 2 / (plan.num_test or FEW)
    else:
        allowed = LEAST + (PART if is_exact else LOOSE_PART) * max(abs(one), abs(other))
    return abs(one - other) <= allowed


def _is_same_arithmetic(plan: Plan) -> bool:
    config = plan.config
    return set(plan.devices) == {"cpu"} and config.dtype == "fp32" and config.wire_dtype == "same"


def _tested(plan: Plan, folder: RunFolder) -> Measured:
    """What the network's own forward comes to on all test samples."""
    import torch

    from dni_async.data.opening import open_feed
    from dni_async.network.split.whole import call_whole
    from dni_async.stage.dtypes import AUTOCAST_DTYPES
    from dni_async.stage.losses.catalog import run_loss
    from dni_async.stage.losses.metrics.examination import make_examination

    network = trained_network(plan, folder).eval()
    examination = make_examination(plan.config, run_loss(plan.config, plan.form, plan.output_shape))
    dtype = AUTOCAST_DTYPES[plan.config.dtype]
    autocast = torch.autocast("cpu", dtype, enabled=dtype is not None)
    with closing(open_feed(plan.config, form=plan.form)) as feed, torch.no_grad(), autocast:
        for index in range(feed.num_batches[1]):
            x, y = feed.test_batch(index)
            examination.add(call_whole(network, x.clone()), y)
    return examination.take()
