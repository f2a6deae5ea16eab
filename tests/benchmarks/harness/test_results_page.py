"""The README's speed table is what the kept results say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_readme_shows_the_results_that_are_kept() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "benchmarks.harness.results_page", "--check"],
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert checked.returncode == 0, "run: python -m benchmarks.harness.results_page"
