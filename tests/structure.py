"""What the source looks like: who imports whom, how long things are; as a table of facts.

``python -m tests.structure`` prints it; ``test_architecture`` holds the source to it.

Counted are the four top-level folders. An import counts wherever it stands: at the top, in a
function, under TYPE_CHECKING. ``import a.b.c`` also runs ``a/__init__`` and ``a/b/__init__``, so
these count as imported too, except by what lies in them (it could not be running otherwise).
"""

from __future__ import annotations

import ast
import functools
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dni_async", "launcher", "workers", "benchmarks")
INSTALLED_INSIDE = {"launcher": "dni_async.launcher", "workers": "dni_async.workers"}

MAX_MODULE_LINES = 350
MAX_PARAMETERS = 7
MAX_P90_LINES = 20
MAX_VISIBLE_NAMES = 16

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Source:
    """One file. name: as it is imported; place: as people write its path."""

    path: Path
    name: str
    place: str
    lines: int
    tree: ast.Module


@functools.cache
def sources() -> tuple[Source, ...]:
    """Every module of the four folders, by path."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> Source:
    """The source at this path."""
    text = path.read_text(encoding="utf-8")
    place = path.relative_to(ROOT)
    return Source(path, name_of(place), place.as_posix(), text.count("\n"), ast.parse(text))


def name_of(place: Path) -> str:
    """The dotted name of the module, or package, at a path that is relative to the root."""
    top, *rest = place.with_suffix("").parts
    return ".".join([INSTALLED_INSIDE.get(top, top), *rest]).removesuffix(".__init__")


def within(name: str, package: str) -> bool:
    """Whether the dotted name is package or lies in it."""
    return name == package or name.startswith(f"{package}.")


# Imports


def imported_by(source: Source) -> set[str]:
    """Every dotted name that the source imports; of ``from a import b`` both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.place}: relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@functools.cache
def import_graph() -> Graph:
    """Module to those of our modules that it imports, each by its dotted name."""
    known = frozenset(source.name for source in sources())
    return {source.name: set(_ours(source, known)) for source in sources()}


def _ours(source: Source, known: frozenset[str]) -> Iterator[str]:
    """What source imports of the known modules, with the ``__init__`` that run for it."""
    for node in ast.walk(source.tree):
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            named = [part if part in known else node.module for part in parts]
        for name in named:
            yield from {name} & known - {source.name}
            parents = {name.rsplit(".", cut)[0] for cut in range(1, name.count(".") + 1)}
            yield from {parent for parent in parents & known if not within(source.name, parent)}


def child_of(package: str, name: str) -> str:
    """The part of package that holds the module of this name: a sub-package or a module."""
    return name.removeprefix(package).split(".")[1] if name != package else "__init__"


def graph_inside(package: str) -> Graph:
    """Who imports whom among the parts of a package, each sub-package taken as one."""
    inside: dict[str, set[str]] = {}
    for name, imported in import_graph().items():
        if within(name, package):
            parts = {child_of(package, other) for other in imported if within(other, package)}
            own = child_of(package, name)
            inside.setdefault(own, set()).update(parts - {own})
    return inside


@functools.cache
def packages() -> tuple[str, ...]:
    """The dotted name of every package."""
    return tuple(s.name for s in sources() if s.path.name == "__init__.py")


def circles(graph: Graph) -> list[list[str]]:
    """The strongly connected components of more than one node, each sorted."""
    reach = {node: _reached(graph, node) for node in graph}
    found = {
        tuple(sorted(n for n in reach[node] if node in reach[n])) for node in graph if graph[node]
    }
    return [list(circle) for circle in sorted(found) if len(circle) > 1]


def _reached(graph: Graph, start: str) -> set[str]:
    """Every node that a path from start leads to."""
    reached: set[str] = set()
    front = {start}
    while front:
        front = {other for node in front for other in graph.get(node, set())} - reached
        reached |= front
    return reached


def import_circles() -> set[str]:
    """Each circle as ``package: part part part``; among modules and among sub-packages alike.

    Two modules in a circle share some innermost package, and there their parts are in one too.
    """
    return {
        f"{package}: {' '.join(circle)}"
        for package in packages()
        for circle in circles(graph_inside(package))
    }


# Sizes


def visible_names(folder: Path) -> list[str]:
    """What one sees in a folder of ours, apart from what every package has."""
    hidden = {"__init__.py", "__pycache__", "py.typed"}
    return sorted(p.name for p in folder.iterdir() if p.name not in hidden and p.name[0] != ".")


def folders() -> list[Path]:
    """Every folder that is a package."""
    return [source.path.parent for source in sources() if source.path.name == "__init__.py"]


def crowded_folders() -> set[str]:
    """Folders with more names than one takes in."""
    return {
        folder.relative_to(ROOT).as_posix()
        for folder in folders()
        if len(visible_names(folder)) > MAX_VISIBLE_NAMES
    }


def long_modules() -> set[str]:
    """Modules of more lines than one keeps in the head."""
    return {source.place for source in sources() if source.lines > MAX_MODULE_LINES}


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, those inside others too."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def function_lines(package: str) -> list[int]:
    """The lines of each function under a top-level folder, from ``def`` to its end, sorted."""
    return sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for source in sources()
        if source.place.startswith(f"{package}/")
        for node in functions(source)
    )


def percentile(ordered: list[int], percent: int) -> int:
    """The value that percent of the sorted values do not exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1]


def packages_of_long_functions() -> set[str]:
    """Top-level folders whose functions are long as a rule."""
    return {p for p in PACKAGES if percentile(function_lines(p), 90) > MAX_P90_LINES}


# Constructors


def greedy_constructors() -> dict[str, int]:
    """Classes that are given more than they should be, as ``place: class``; how much each is given.

    Of a written ``__init__`` every parameter counts, but self. Of a dataclass those fields that
    its caller passes and that are no plain values: what holds an object with a life of its own (a
    class of ours that is no frozen dataclass, enumeration or named tuple, or a callable). A frozen
    record of thirty numbers is a row; an object with eight colleagues is a crowd.
    """
    alive = _classes_with_a_life()
    return {
        f"{source.place}: {node.name}": count
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
        and (count := _constructor_parameters(node, alive)) > MAX_PARAMETERS
    }


def _constructor_parameters(node: ast.ClassDef, alive: set[str]) -> int:
    """How many things the constructor of the class takes."""
    if _dataclass_options(node) is not None:
        return sum(1 for field in _passed_fields(node) if _names_in(field.annotation) & alive)
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            given = part.args
            extra = [a for a in (given.vararg, given.kwarg) if a is not None]
            return len([*given.posonlyargs, *given.args, *given.kwonlyargs, *extra]) - 1
    return 0


def _dataclass_options(node: ast.ClassDef) -> str | None:
    """What stands behind ``@dataclass``; None where that does not stand."""
    written = [ast.unparse(decorator) for decorator in node.decorator_list]
    found = [text for text in written if text.split("(")[0].endswith("dataclass")]
    return found[0] if found else None


def _passed_fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """The fields of a dataclass that its caller passes."""
    return [
        part
        for part in node.body
        if isinstance(part, ast.AnnAssign)
        and "ClassVar" not in ast.unparse(part.annotation)
        and not (part.value is not None and "init=False" in ast.unparse(part.value))
    ]


def _names_in(annotation: ast.expr) -> set[str]:
    """Every name that an annotation mentions."""
    found = set()
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


def _classes_with_a_life() -> set[str]:
    """Names of our classes that are no values, and Callable."""
    classes = [n for s in sources() for n in ast.walk(s.tree) if isinstance(n, ast.ClassDef)]
    values = {"NamedTuple", "TypedDict", "Enum", "IntEnum", "StrEnum", "Exception"}
    return {"Callable"} | {
        node.name
        for node in classes
        if "frozen=True" not in (_dataclass_options(node) or "")
        and not {ast.unparse(base).split(".")[-1] for base in node.bases} & values
    }


# The table


def _listed(title: str, found: Iterable[str]) -> str:
    """A fact that should be empty."""
    ordered = sorted(found)
    return "\n".join([f"{title}: {len(ordered) or 'none'}", *(f"  {name}" for name in ordered)])


def _counted_constructors() -> list[str]:
    """Each greedy constructor with its count."""
    return [f"{name} ({count})" for name, count in greedy_constructors().items()]


def _packages_table() -> str:
    """Names, lines and functions of each top-level folder, and names of each package in it."""
    rows = [f"{'folder':<36}names  modules  lines  function lines p50  p90  max"]
    for folder in sorted(folders()):
        place = folder.relative_to(ROOT).as_posix()
        row = f"{place:<36}{len(visible_names(folder)):>5}"
        if place in PACKAGES:
            inside = [s for s in sources() if s.place.startswith(f"{place}/")]
            lengths = function_lines(place)
            row += f"{len(inside):>9}{sum(s.lines for s in inside):>7}"
            row += (
                f"{statistics.median(lengths):>20.0f}{percentile(lengths, 90):>5}{lengths[-1]:>5}"
            )
        rows.append(row)
    return "\n".join(rows)


def main() -> None:
    """Print the facts."""
    print(_packages_table())
    print(_listed("import circles", import_circles()))
    print(_listed(f"folders of more than {MAX_VISIBLE_NAMES} names", crowded_folders()))
    print(_listed(f"modules of more than {MAX_MODULE_LINES} lines", long_modules()))
    print(_listed(f"constructors of more than {MAX_PARAMETERS}", _counted_constructors()))
    print(_listed(f"function lines p90 above {MAX_P90_LINES}", packages_of_long_functions()))


if __name__ == "__main__":
    main()
