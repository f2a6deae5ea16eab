"""The trained network out of the run directory, and whether it is the one that was reported on."""

from __future__ import annotations

from typing import Any

from dni_async.config.extensions import is_extension
from dni_async.files.beside import read_values
from dni_async.launcher.plan.plan import Plan
from dni_async.launcher.report.results import RunResult
from dni_async.launcher.run_folder.folder import RunFolder

__all__ = ["disagreement", "trained_network", "trained_state"]

TOLERANCE = 0.005  # in accuracy, beside two samples
LOSS_TOLERANCE = 1e-3  # of a loss where there is no accuracy, relative
LOOSE_TOLERANCE = 0.02  # where numbers are rounded on the way, or another device computes


def trained_network(plan: Plan, folder: RunFolder) -> Any:
    """The network (nn.Sequential) with all that training changed, on the CPU."""
    from dni_async.network.building import build_network
    from dni_async.stage.own_state import load_trained

    network = build_network(plan.config, plan.input_shape, plan.form.output_shape)
    load_trained(network, *trained_state(folder))
    return network


def trained_state(folder: RunFolder) -> tuple[dict[str, Any], Any]:
    """The weights, by the names of the network's state dict, and the OwnState beside them."""
    import safetensors.torch

    from dni_async.stage.own_state import OwnState

    state = OwnState()
    if folder.model_state.exists():
        values = read_values(folder.model_state)
        state = OwnState(values, safetensors.torch.load_file(folder.model_state))
    return safetensors.torch.load_file(folder.model), state


def disagreement(plan: Plan, folder: RunFolder, result: RunResult) -> str | None:
    """What to say if the trained network does not test as was reported of it; None if it does.

    Only a network of the user's own is tested, and only where the last epoch was the last word: a
    run that ends early makes a few updates after its last test.
    """
    model = plan.config.model
    is_own = model is not None and is_extension(model)
    if not is_own or not result.epochs or result.epochs[-1].epoch != plan.config.epochs:
        return None
    last, means = result.epochs[-1], _means(plan, folder)
    loose = 0.0 if _is_same_arithmetic(plan) else LOOSE_TOLERANCE
    if "accuracy" in means:
        found, reported = means["accuracy"], last.test_accuracy
        allowed = max(loose, TOLERANCE) + 2 / plan.num_test
        said = f"{found:.1%} test accuracy, but {reported:.1%}"
    else:
        found, reported = means.get("loss", last.test_loss), last.test_loss
        allowed = max(loose, LOSS_TOLERANCE) * abs(reported)
        said = f"a test loss of {found:.4g}, but {reported:.4g}"
    if abs(found - reported) <= allowed:
        return None
    return (
        f"model: the trained network that comes back has {said} was reported: something that "
        "training changed did not come back with it"
    )


def _is_same_arithmetic(plan: Plan) -> bool:
    config = plan.config
    return set(plan.devices) == {"cpu"} and config.dtype == "fp32" and config.wire_dtype == "same"


def _means(plan: Plan, folder: RunFolder) -> dict[str, float]:
    """What the network's own forward comes to on all test samples."""
    import torch

    from dni_async.data.opening import open_feed
    from dni_async.stage.dtypes import AUTOCAST_DTYPES
    from dni_async.stage.losses.catalog import run_loss
    from dni_async.stage.losses.score import add_scores

    feed = open_feed(plan.config)
    network = trained_network(plan, folder).eval()
    loss = run_loss(plan.config, plan.form, plan.output_shape)
    dtype = AUTOCAST_DTYPES[plan.config.dtype]
    scores = []
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
        for index in range(feed.num_batches[1]):
            x, y = feed.test_batch(index)
            scores.append(loss.score(network(x.clone()), y))
    return add_scores(scores).means
