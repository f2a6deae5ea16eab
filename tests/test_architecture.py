"""Who may import whom, what nobody may use, and what every module says about itself."""

from __future__ import annotations

import ast
import functools
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import dni_async

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dni_async", "workers", "launcher")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LIBRARY = [path for path in SOURCES if path.is_relative_to(ROOT / "dni_async")]
MAX_LINES = 400

# Folder -> what nothing in it may import.
FORBIDDEN = {
    "dni_async": {"click", "psutil", "subprocess", "rich", "dni_async.workers"},
    "dni_async/decisions": {"torch", "zmq", "time", "numpy", "dni_async.transport"},
    "dni_async/synthesizers": {"zmq", "dni_async.wire.messages", "dni_async.decisions"},
    "workers": {"dni_async.launcher", "subprocess", "rich"},
    "launcher": {"dni_async.workers"},
    "": {"pickle", "dill", "marshal", "shelve", "multiprocessing"},
}
# Module -> the only files that may import it.
ONLY_IN = {
    "zmq": {
        "dni_async/transport/channels.py",
        "dni_async/transport/sockets.py",
        "dni_async/transport/gate.py",
    },
    "msgpack": {"dni_async/wire/codec.py"},
    "cloudpickle": {"dni_async/config/given.py"},  # the caller's own; see docs/decisions/0040
    "ray": {"launcher/places/ray/cluster.py", "launcher/monitoring/ray_metrics.py"},
    "subprocess": {
        "launcher/places/ray/actor.py",
        "launcher/places/local.py",
        "launcher/jobs/baseline.py",
        "launcher/jobs/baseline_process.py",
    },
}
# Calls that unpickle or run what they are given, or wait for time to pass.
FORBIDDEN_CALLS = {"recv_pyobj", "send_pyobj", "recv_serialized", "sleep"}
FORBIDDEN_BUILTINS = {"eval", "exec"}


def named(path: Path) -> str:
    """The path as people write it."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return name if name.split(".")[0] == "dni_async" else f"dni_async.{name}"


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The parsed source."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """Every module that the source imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(path)}: relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def reaches(imported: str, module: str) -> bool:
    """Whether imported is module or a part of it."""
    return imported == module or imported.startswith(f"{module}.")


sources = pytest.mark.parametrize("path", SOURCES, ids=named)
library = pytest.mark.parametrize("path", LIBRARY, ids=named)


@sources
def test_imports_follow_the_arrows(path: Path) -> None:
    imported = imports_of(path)
    for folder, modules in FORBIDDEN.items():
        if path.is_relative_to(ROOT / folder):
            wrong = {i for i in imported for module in modules if reaches(i, module)}
            assert not wrong, f"{folder or 'nothing'} may not import {wrong}"
    for module, files in ONLY_IN.items():
        if named(path) not in files:
            assert not any(reaches(i, module) for i in imported), f"{module} only in {files}"


def test_the_library_reaches_for_the_launcher_in_one_place() -> None:
    """At the call of dni_async.train alone."""
    reaching = {
        named(path)
        for path in LIBRARY
        if any(reaches(imported, "dni_async.launcher") for imported in imports_of(path))
    }
    assert reaching == {"dni_async/training.py"}


@sources
def test_nothing_is_unpickled_and_nobody_sleeps(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_BUILTINS, f"line {node.lineno}: {called}"
            assert called.split(".")[-1] not in FORBIDDEN_CALLS, f"line {node.lineno}: {called}"
            for keyword in node.keywords:
                if keyword.arg in ("weights_only", "allow_pickle"):
                    assert isinstance(keyword.value, ast.Constant)
                    safe = keyword.arg == "weights_only"
                    assert keyword.value.value is safe, f"line {node.lineno}: {keyword.arg}"
        elif isinstance(node, ast.ImportFrom):
            assert not FORBIDDEN_CALLS & {alias.name for alias in node.names}


@sources
def test_a_module_says_in_one_sentence_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(tree_of(path))
    assert docstring, "no docstring"
    first, *rest = docstring.split("\n")
    assert first[-1] in ".:!?", "the first line is no whole sentence"
    assert not rest or rest[0] == "", "the first line goes on"


@sources
def test_a_module_fits_in_the_head(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def public_parts(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                        yield part


@library
def test_everything_public_has_a_docstring(path: Path) -> None:
    bare = [part.name for part in public_parts(tree_of(path)) if not ast.get_docstring(part)]
    assert not bare


def all_of(tree: ast.Module) -> list[str]:
    """What the module's __all__ lists; nothing where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


@library
def test_all_lists_what_is_there(path: Path) -> None:
    names = all_of(tree_of(path))
    module = importlib.import_module(module_of(path))
    assert len(set(names)) == len(names)
    assert all(hasattr(module, name) for name in names)


def test_the_public_library_is_what_it_says() -> None:
    importable = {
        name
        for name, value in vars(dni_async).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert importable | {"__version__"} == set(dni_async.__all__)


WITHOUT_TORCH = [
    "dni_async",
    "dni_async.config.given",
    "dni_async.training",
    "dni_async.config.run_config",
    "dni_async.wire.codec",
    "dni_async.decisions.machines.machine",
    "dni_async.decisions.schedule",
    "dni_async.data",
    "dni_async.network.partition",
    "dni_async.seeding",
    "dni_async.system",
    "dni_async.launcher.cli",
    "dni_async.launcher.doctor.cli",
    "dni_async.launcher.plan.plan",
    "dni_async.launcher.places.local",
    "dni_async.launcher.commands.report",
    "dni_async.launcher.decisions.roster",
    "dni_async.launcher.run_folder.folder",
    "dni_async.workers.__main__",
]


def test_these_modules_do_not_import_torch() -> None:
    """So that usage errors and --help come at once, and decisions run anywhere."""
    program = "import importlib, sys\n" + "".join(
        f"importlib.import_module({name!r}); assert 'torch' not in sys.modules, {name!r}\n"
        for name in WITHOUT_TORCH
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
