"""The documentation as pages: each builds without a warning, and fetches nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure import ROOT

pytest.importorskip("mkdocs", reason="the site is made by mkdocs: pip install -e '.[docs]'")

FETCHED = re.compile(
    r"""<(?:script|img|iframe)[^>]+src=["']?(?:https?:)?//[^>]*>"""
    r"""|<link[^>]+rel=["']?(?:stylesheet|preconnect|icon)[^>]+href=["']?(?:https?:)?//[^>]*>"""
    r"""|url\(["']?(?:https?:)?//"""
)


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    for page in ROOT.glob("docs/**/*.md"):
        assert page.relative_to(ROOT).with_suffix(".html").as_posix() in made
    assert {"index.html", "docker/index.html", "docs/decisions/index.html"} <= made
    for path in tmp_path.rglob("*"):
        if path.suffix in (".html", ".css"):
            found = FETCHED.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.name}: {found and found.group()}"
