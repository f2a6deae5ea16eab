"""Run a module of ours as a process, whatever else is on the path.

``python .../bootstrap.py MODULE ARGS`` takes dni_async from where this file was found in it, and
leaves the rest of the path as the user made it: in a run of dni_async.train, as it is there.
``python -m`` would put the working folder first, where a user's ``types.py`` may lie.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path


def path_of_caller() -> list[str] | None:
    """sys.path of the caller of dni_async.train; None in a run of dni-launch."""
    folder = os.environ.get("DNI_GIVEN")
    if not folder:
        return None
    path: list[str] = json.loads(Path(folder, "path.json").read_text(encoding="utf-8"))
    return path


def pin_package(folder: Path) -> None:
    """Import dni_async from folder and no other place."""
    spec = importlib.util.spec_from_file_location(
        "dni_async", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dni_async"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    here = Path(__file__).absolute().parent  # not resolved: in a checkout a link leads here
    own_path = [entry for entry in sys.path if entry and Path(entry).resolve() != here.resolve()]
    sys.path[:] = path_of_caller() or own_path
    pin_package(here.parents[1])
    target = sys.argv.pop(1)
    importlib.import_module(target).main()
