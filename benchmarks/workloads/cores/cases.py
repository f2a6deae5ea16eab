"""What is trained on so many cores: a network, its samples and how it is cut."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.samples import write_samples
from dni_async.config.run_config import RunConfig
from dni_async.data.sources.mnist import MNIST, find_files

__all__ = ["NETWORKS", "Case", "digits_of"]

NETWORKS: Final = ("mlp", "equal")
"""784-width-...-10, a layer a worker; the same with samples as wide as the layers, where all cost
the same and the last worker has the classes' layer too."""
ALWAYS: Final[dict[str, Any]] = {"baseline": False, "devices": ("cpu",), "threads_per_worker": 1}


def digits_of(folder: Path | None) -> str:
    """mnist, where its files are in folder or in $DNI_DATA_DIR; else digits, which are embedded."""
    named = folder or Path(os.environ.get("DNI_DATA_DIR") or os.devnull)
    return "mnist" if named.is_dir() and find_files(MNIST, named) else "digits"


@dataclass(frozen=True, slots=True)
class Case:
    """A network on num_cores shares of a core. data_dir: where data lies.

    layers None: one for each core.
    """

    network: str
    num_cores: int
    data: str = "mnist"
    data_dir: Path | None = None
    width: int = 1024
    layers: int | None = None
    batch_size: int = 256
    window: int | None = None

    @property
    def size(self) -> int:
        """Samples of a batch."""
        return self.batch_size

    @property
    def name(self) -> str:
        """As a table is headed."""
        last = f"-{self.width}x{self._num_hidden}-10, batch {self.size}"
        wide = self.width if self.network == "equal" else {"mnist": 784}.get(self.data, 64)
        return f"{wide}{last}"

    @property
    def _num_hidden(self) -> int:
        return (self.layers or self.num_cores) - (self.network != "equal")

    def config(self, data: Path, *, epochs: int, seed: int = 0, plain: bool = False) -> RunConfig:
        """A run on the samples in data; plain: by backpropagation, whatever our settings."""
        values = ALWAYS | {"data": str(data), "epochs": epochs, "seed": seed}
        values |= {"layers": self._num_hidden + 1, "width": self.width, "norm": "none"}
        values |= {"batch_size": self.batch_size, "lr": 1e-3}
        values |= {"stages": self.num_cores, "lr_schedule": "cosine"}
        if self.window is not None and not plain:
            values["window"] = self.window
        return RunConfig.from_dict(values)

    def write(self, path: Path, num_batches: int) -> None:
        """So many batches, and few samples to test; 0: all there are of both.

        Raises ConfigError, DataError.
        """
        features = self.width if self.network == "equal" else None
        write_samples(
            path,
            self.data,
            self.data_dir,
            max_samples=num_batches * self.size,
            batch_size=self.size,
            num_features=features,
        )
