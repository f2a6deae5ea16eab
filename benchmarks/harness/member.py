"""The process of a team's member: bound to its team first, then whatever module it is to run.

``python -m benchmarks.harness.member MODULE`` runs ``MODULE.main(member)``. Torch takes seconds to
import; a team that is killed meanwhile takes its members with it. When all is told the process is
over at once: gloo's threads may still hold tensors, and abort in an interpreter that takes itself
apart (pytorch issue 179291).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from dni_async.system.machine import die_with_parent, name_process

__all__ = ["answer", "main"]


def main() -> None:
    """The first line says who this is, and for whom it works."""
    first = json.loads(sys.stdin.readline())
    die_with_parent(first["parent"])
    name_process("dni-bench")
    importlib.import_module(sys.argv[1]).main(int(first["member"]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def answer(message: Mapping[str, Any]) -> None:
    """One line to the team's owner."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
