"""Make a run's network of a module that is no chain of layers by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from dni_async.config.extensions import find_callable, is_extension
from dni_async.errors import ConfigError
from dni_async.network.split.choosing import choose_points
from dni_async.network.split.kept import kept
from dni_async.network.split.parts import Chain
from dni_async.network.split.recording.failures import Unsplittable
from dni_async.network.split.recording.variants import NUM_SAMPLES
from dni_async.network.split.splitting import Cuts, assemble, find_cuts
from dni_async.stage.dtypes import AUTOCAST_DTYPES

__all__ = ["AUTO", "make_chain"]

AUTO = "auto"


def make_chain(
    make: Callable[[], nn.Module],
    name: str,
    split: Sequence[str],
    input_shape: tuple[int, ...],
    *,
    dtype: str = "fp32",
) -> Chain:
    """The module that make gives, as a chain of parts.

    make: gives the same at each call. name: what it goes by where recordings are kept. split: as
    the setting; nothing is as "auto". input_shape: of one sample, numbers or ids. dtype: the
    setting, as forwards may go by the dtypes that come of it. Raises ConfigError.
    """
    module = make()
    key = (name, tuple(split), input_shape, dtype)
    cast = AUTOCAST_DTYPES[dtype]
    try:
        with torch.autocast("cpu", cast, enabled=cast is not None):
            cuts = kept().get(key) or _found(make, split, input_shape)
        kept()[key] = cuts
        return assemble(module, cuts)
    except Unsplittable as error:
        raise ConfigError(f"split: {error}") from error


def _found(
    make: Callable[[], nn.Module], split: Sequence[str], input_shape: tuple[int, ...]
) -> Cuts:
    """How to cut what make gives. Raises Unsplittable, and ConfigError for what the user raises."""
    first: Exception | None = None
    for dtype in (torch.float32, torch.int64):  # ids do not pass as numbers, and few numbers as ids
        samples = torch.zeros(NUM_SAMPLES, *input_shape, dtype=dtype)
        try:
            return _cuts(make, split, samples)
        except (ConfigError, Unsplittable):
            raise
        except Exception as error:  # whatever the user's code raises
            first = first or error
            if dtype == torch.int64 and _is_of_dtype(first):
                first = error
    raise ConfigError(
        f"model: samples of shape {list(input_shape)} do not pass the network: "
        f"{type(first).__name__}: {' '.join(str(first).split())}"
    ) from first


def _cuts(make: Callable[[], nn.Module], split: Sequence[str], samples: torch.Tensor) -> Cuts:
    if list(split) in ([], [AUTO]):
        points = choose_points(make(), [samples])
    elif len(split) == 1 and is_extension(split[0]):
        points = _named_by(split[0], make())
    else:
        points = list(split)
    return find_cuts(make(), [samples], points)


def _named_by(name: str, module: nn.Module) -> list[str]:
    """What a function of the user's own says. Raises ConfigError."""
    try:
        points = find_callable("split", name)(module)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"split: {name} raised {error!r}") from error
    if isinstance(points, str) or not all(isinstance(each, str) for each in _listed(points)):
        raise ConfigError(f"split: {name} must give a list of names of modules, gave {points!r}")
    return _listed(points)


def _listed(points: object) -> list[str]:
    return list(points) if isinstance(points, Sequence) else [points]  # type: ignore[list-item]


def _is_of_dtype(error: Exception) -> bool:
    """Whether what torch says is about ids that are no integers."""
    return "indices" in str(error) or "Long" in str(error)
