"""Every exception that dni-async raises on purpose, as one tree.

DniError
├── ConfigError          the user asked for something that cannot be run
│   ├── DataError        a data set is missing, damaged or does not fit
│   └── CheckpointError  a checkpoint is missing, damaged or of another run
├── WireError            bytes that are no message of this protocol
├── HandshakeError       a worker could not join: version, run id or deadline
├── LinkError            a neighbour broke the rules of a link (window, order, shape)
├── NonFiniteError       NaN or infinity in a loss or gradient, caught before it is applied
└── WorkerDied           a worker failed or disappeared; carries the first cause
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DniError",
    "HandshakeError",
    "LinkError",
    "NonFiniteError",
    "WireError",
    "WorkerDied",
]


class DniError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(DniError):
    """What was asked for cannot be run; the text says which setting and why."""


class DataError(ConfigError):
    """A data set is missing, damaged, or does not fit the network."""


class CheckpointError(ConfigError):
    """A checkpoint, or a shard of one, is missing, damaged, or of another run."""


class WireError(DniError):
    """Received bytes are not a message of this protocol version.

    peer: the routing id that they came from; empty where there is only one peer.
    """

    def __init__(self, message: str, peer: bytes = b"") -> None:
        super().__init__(message)
        self.peer = peer


class HandshakeError(DniError):
    """A worker could not join the run (version, run id, or deadline)."""


class LinkError(DniError):
    """A neighbour broke the rules of a link: window, order, shape or dtype."""


class NonFiniteError(DniError):
    """NaN or infinity was found in a tensor before it could be applied.

    stage and batch_id say where; tensor names what (``loss``, ``synthetic gradient``,
    ``gradient of 0.0.weight`` ...).
    """

    def __init__(self, stage: int, batch_id: int, tensor: str) -> None:
        super().__init__(f"stage {stage}, batch {batch_id}: {tensor} is not finite")
        self.stage = stage
        self.batch_id = batch_id
        self.tensor = tensor


class WorkerDied(DniError):
    """A worker failed or disappeared.

    exit_code is what the launcher exits with: the worker's own code, or 128 + signal number.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
