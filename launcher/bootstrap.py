"""Run a module of ours as a process, whatever else is on the path.

``python .../launcher/bootstrap.py workers.__main__ ARGS`` pins the three packages to the folders
beside this file, so that a ``workers`` or ``launcher`` of the user's cannot take their place, and
leaves the rest of the path as the user made it: in a run of dni_async.train, as it is there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

PACKAGES = ("dni_async", "workers", "launcher")


def path_of_caller() -> list[str] | None:
    """sys.path of the caller of dni_async.train; None in a run of dni-launch."""
    folder = os.environ.get("DNI_GIVEN")
    if not folder:
        return None
    path: list[str] = json.loads(Path(folder, "path.json").read_text(encoding="utf-8"))
    return path


def pin_packages(root: Path) -> None:
    """Import our packages from root and no other place."""
    for name in PACKAGES:
        folder = root / name
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    own_path = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
    sys.path[:] = path_of_caller() or own_path
    pin_packages(here.parent)
    target = sys.argv.pop(1)
    importlib.import_module(target).main()
