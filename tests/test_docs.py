"""The docs name what there is: every path and every module in them exists, and links lead on."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import dni_async
from tests import folder_map
from tests.structure import ROOT, sources

DOCS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "docker/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
TOPS = ("dni_async", "launcher", "workers", "benchmarks", "tests", "docs", "docker", "examples")
OF_USERS = {"launcher.py", "workers.py", "types.py", "docker/keys"}  # theirs, or made by them
PATH = re.compile(rf"(?<![\w/.-])((?:{'|'.join(TOPS)}|scripts)/[\w./-]*\w)")
RESULT = re.compile(r"([\w*.-]+\.json)")
FILE = re.compile(r"`(\w+\.py)`")
DOTTED = re.compile(r"(?<![\w/.@-])((?:dni_async|benchmarks)(?:\.[a-z_]\w*)+)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
HISTORY = {"CHANGELOG.md"}  # says what there was, too


def found(pattern: re.Pattern[str], path: Path) -> Iterator[str]:
    """Each match in the file."""
    yield from pattern.findall(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    """The path as people write it."""
    return path.relative_to(ROOT).as_posix()


def of_today() -> list[Path]:
    """Docs that speak of the source as it is."""
    return [path for path in DOCS if path.name not in HISTORY]


def test_every_path_exists() -> None:
    lost = {
        f"{named(doc)}: {place}"
        for doc in of_today()
        for place in found(PATH, doc)
        if place not in OF_USERS and not any(ROOT.glob(f"{place}*"))
    }
    assert not lost, "\n".join(sorted(lost))


def test_every_file_named_alone_exists() -> None:
    names = {path.name for top in TOPS for path in (ROOT / top).rglob("*.py")} | OF_USERS
    lost = {f"{named(d)}: {n}" for d in of_today() for n in found(FILE, d) if n not in names}
    assert not lost, "\n".join(sorted(lost))


def test_every_link_leads_to_a_file() -> None:
    lost = {
        f"{named(doc)}: {link}"
        for doc in DOCS
        for link in found(LINK, doc)
        if "://" not in link and not (doc.parent / link).exists()
    }
    assert not lost, "\n".join(sorted(lost))


def test_every_dotted_name_in_the_docs_exists() -> None:
    lost = {f"{named(d)}: {n}" for d in of_today() for n in found(DOTTED, d) if not is_there(n)}
    assert not lost, "\n".join(sorted(lost))


def test_every_dotted_name_in_a_string_exists() -> None:
    """Processes and their modules are named in strings, which no checker of imports sees."""
    tests = {path: ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("*.py")}
    trees = {source.path: source.tree for source in sources()} | tests
    lost = {
        f"{named(path)}: {name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in DOTTED.findall(node.value)
        if not is_there(name)
    }
    assert not lost, "\n".join(sorted(lost))


def test_the_maps_show_the_folders() -> None:
    text = folder_map.DOC.read_text(encoding="utf-8")
    assert folder_map.drawn(text) == text, "run: python -m tests.folder_map"


def test_the_architecture_names_classes_and_methods_that_are_there() -> None:
    text = folder_map.DOC.read_text(encoding="utf-8")
    parts = dict(classes())
    methods = re.findall(r"\b([A-Z][a-z]+(?:[A-Z][a-z]+)*)\.([a-z_]+)\b", text)
    lost = {f"{name}.{member}" for name, member in methods if member not in parts.get(name, [])}
    alone = {*re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", text), *(name for name, _ in methods)}
    aliases = {target for s in sources() for target in assigned(s.tree)}
    lost |= alone - set(parts) - aliases - set(vars(builtins))
    assert not lost, "\n".join(sorted(lost))


def assigned(tree: ast.Module) -> Iterator[str]:
    """The names that a module assigns."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from (ast.unparse(target) for target in node.targets)


def classes() -> Iterator[tuple[str, list[str]]]:
    """Every class of ours with the names of its methods and fields."""
    for node in (node for source in sources() for node in ast.walk(source.tree)):
        if isinstance(node, ast.ClassDef):
            methods = [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
            fields = [p.target for p in node.body if isinstance(p, ast.AnnAssign)]
            yield node.name, [*methods, *(ast.unparse(field) for field in fields)]


def test_the_newest_changes_are_of_the_version_that_this_is() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert dni_async.__version__ in versions[:2]
    assert versions[0] in ("Unreleased", dni_async.__version__)


def test_every_kept_result_is_spoken_of() -> None:
    patterns = {p for doc in of_today() for p in found(RESULT, doc)}
    kept = (ROOT / "benchmarks" / "results").glob("*.json")
    silent = [path.name for path in kept if not any(fnmatch(path.name, p) for p in patterns)]
    assert not silent


def is_there(name: str) -> bool:
    """Whether the dotted name is a module of ours, or something in one."""
    modules = {source.name for source in sources()}
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        module = ".".join(parts[:cut])
        if module in modules:
            rest = parts[cut:]
            return not rest or hasattr(importlib.import_module(module), rest[0])
    return False


def test_lists_and_tables_are_such_on_the_site_as_in_the_repository() -> None:
    """Its parser wants an empty line before each, a rule in each table, and none within a list."""
    lost = {
        f"{named(doc)}:{number}: {line[:60]}"
        for doc in DOCS
        for number, line, before, behind in beside_each_other(doc)
        if (line.startswith("- ") and re.match(r"[^\s\-]", before))
        or (line.startswith("|") and not before.startswith("|") and (before or behind[:2] != "|-"))
        or re.match(r" +\|.*\|$", line)
    }
    assert not lost, "\n".join(sorted(lost))


def beside_each_other(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Each line with its number, the one before it and the one behind it, but those of code."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", lambda code: "\n" * code[0].count("\n"), text, flags=re.M | re.S)
    lines = ["", *re.sub(r"^<!-- .* -->$", "", text, flags=re.M).split("\n"), ""]
    for number in range(1, len(lines) - 1):
        yield number, lines[number], lines[number - 1], lines[number + 1]
