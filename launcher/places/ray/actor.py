"""What runs in a Ray actor: one dni-worker as a child process, until that ends.

Ray carries this class by value to nodes where no folder of the launcher's is on the path, so it
needs nothing of this package before it runs.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["StageActor"]


class StageActor:
    """One stage's place on a Ray cluster, on the node and the devices that Ray has chosen.

    The worker is a process of its own: it has no thread, no setting and no pickle of Ray's in it.
    It dies with the actor's process, however that ends.
    """

    def __init__(self, stage: int) -> None:
        self._stage = stage

    def __repr__(self) -> str:
        """How Ray names this actor in its logs and its dashboard."""
        return f"stage {self._stage}"

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        """Host the stage by dni-worker with these arguments; its exit code, or minus its signal.

        environment: beyond this node's. What the worker prints goes where the actor's prints go,
        into Ray's logs. Raises ModuleNotFoundError where dni-async is not installed.
        """
        package = importlib.util.find_spec("dni_async")
        if package is None or package.origin is None:
            raise ModuleNotFoundError(
                f"dni-async is not installed on {platform.node()} for {sys.executable}"
            )
        bootstrap = Path(package.origin).parent / "launcher" / "places" / "bootstrap.py"
        # Ray may have told the kernel to reap children unseen; Popen.wait must see this one.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        worker = subprocess.Popen(
            [
                sys.executable,
                str(bootstrap),
                "dni_async.workers.__main__",
                *arguments,
                f"--stage={self._stage}",
                f"--parent={os.getpid()}",
            ],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
        )
        return worker.wait()
