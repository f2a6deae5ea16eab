"""Asynchronous, layer-parallel training with decoupled neural interfaces.

The names below are the public library; importing them does not import torch.
"""

from dni_async.config.run_config import RunConfig
from dni_async.errors import (
    ConfigError,
    DataError,
    DniError,
    HandshakeError,
    LinkError,
    NonFiniteError,
    WireError,
    WorkerDied,
)
from dni_async.training import Callback, RunView, TrainingResult, load, train

__all__ = [
    "Callback",
    "ConfigError",
    "DataError",
    "DniError",
    "HandshakeError",
    "LinkError",
    "NonFiniteError",
    "RunConfig",
    "RunView",
    "TrainingResult",
    "WireError",
    "WorkerDied",
    "__version__",
    "load",
    "train",
]

__version__ = "0.2.0"
