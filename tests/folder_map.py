"""The folders as ``docs/architecture.md`` draws them; ``python -m tests.folder_map`` draws anew.

Of each package: its name, the sentence it says of itself, and the modules that lie in it.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.structure import PACKAGES, ROOT, folders, sources, visible_names

DOC = ROOT / "docs" / "architecture.md"
INDENT, COLUMN, WIDTH = 2, 20, 100


def drawn(doc: str) -> str:
    """The text of a doc with each map in it as the folders are now."""
    for package in PACKAGES:
        begin, end = f"<!-- map of {package} -->\n", f"<!-- end of {package} -->"
        before, _, rest = doc.partition(begin)
        _, _, after = rest.partition(end)
        doc = f"{before}{begin}```\n{folder_map(ROOT / package)}\n```\n{end}{after}"
    return doc


def folder_map(package: Path) -> str:
    """A top-level folder and the packages in it, each with its sentence and its modules."""
    inside = [folder for folder in sorted(folders()) if folder.is_relative_to(package)]
    return "\n".join(line for folder in inside for line in _entry(folder, package))


def _entry(folder: Path, package: Path) -> Iterator[str]:
    """The lines of one folder."""
    depth = len(folder.relative_to(package).parts)
    name = " " * INDENT * depth + f"{folder.name}/"
    modules = [Path(n).stem for n in visible_names(folder) if n.endswith(".py")]
    paragraphs = [_sentence(folder), ", ".join(modules)]
    wrapped = [line for text in paragraphs for line in textwrap.wrap(text, WIDTH - COLUMN)]
    for number, line in enumerate(wrapped):
        yield f"{'' if number else name:<{COLUMN}}{line}"


def _sentence(folder: Path) -> str:
    """What the package says of itself."""
    (tree,) = (source.tree for source in sources() if source.path == folder / "__init__.py")
    return (ast.get_docstring(tree) or "").split("\n")[0].replace("``", "")


if __name__ == "__main__":
    DOC.write_text(drawn(DOC.read_text(encoding="utf-8")), encoding="utf-8")
