"""The pages of the site lie as in the repository, so that one link leads on here and there.

mkdocs knows one folder of pages; of ours some lie beside it. This hook of mkdocs.yml puts all of
them, and the files that they link to, at their paths from the root of the repository, and makes the
list of decisions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

__all__ = ["decisions", "on_files", "on_page_markdown", "pages"]

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/**/*.md", "docker/*.md", "benchmarks/*.md")
FOLDER = re.compile(r"(\]\([^)\s:]+/)\)")
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    """All of them."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def linked(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / link).resolve()
        if path.is_file() and ROOT in path.parents:
            yield path


def decisions() -> str:
    """The list of them: a link for each, by its number, with its own title."""
    lines = ["# Decisions", "", "Why it is as it is, in the order in which it was decided.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join([*lines, ""])


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """mkdocs asks which files there are."""
    from mkdocs.structure.files import File

    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for path in sorted({path for page in pages() for path in (page, *linked(page))}):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    index = "docs/decisions/README.md"
    files.append(File.generated(config, index, content=decisions()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs asks what a page says: a link to a folder leads to its README.md."""
    return FOLDER.sub(r"\1README.md)", markdown)
