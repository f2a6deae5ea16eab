"""The blocks of code in the docs, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.structure import ROOT

__all__ = ["OURS", "PAGES", "Block", "arguments", "blocks", "commands", "unlike"]

PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "d*/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if "dni_async" not in path.parts
)
OURS = ("dni-launch", "dni-report", "dni-doctor", "dni-worker")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^|\s+)#.*$")
PROGRAMS = (
    "cd chmod curl dni-[a-z]+ docker eval export git kubectl mkdir mkdocs mlflow pip pytest"
    " python ray scp scripts/\\w+ source srun ssh tensorboard torchrun wandb [A-Z][A-Z_]+=\\S*"
    " \\.venv/\\S+"
)
COMMAND = re.compile(rf"^(?:\$ )?(?:{'|'.join(PROGRAMS.split())})(?:\s|$)")


@dataclass(frozen=True)
class Block:
    """One of a page. line: where it begins, from 1. kind: the word behind its fence."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        """Where to look."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Those of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page.relative_to(ROOT).as_posix(), line, found.group(1), found.group(2))


def commands(block: Block) -> list[str]:
    """What is to be typed, a command each; none where the block holds no commands.

    Where a line has a prompt, the others are what was printed. Comments are left out.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.kind not in ("", "sh", "console") or not lines or not COMMAND.match(_first(lines)):
        return []
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [bare for line in lines if (bare := COMMENT.sub("", line).strip())]


def _first(lines: list[str]) -> str:
    return next((line for line in lines if COMMENT.sub("", line).strip()), "")


def unlike(block: Block, output: str) -> list[str]:
    """The lines that a block shows as printed, and that output has none like: whatever its figures.

    Of a line that is not whole what stands before its dots. A comparison is none where the machine
    was busy.
    """
    whole = _shape(output)
    shown = [line for line in block.text.splitlines() if not line.startswith("$ ")]
    if "not comparable" in output:
        shown = re.sub(r"(?s)[\d.]+x the samples.*?(?=\n\.\.\.)", "", "\n".join(shown)).splitlines()
    return [line for line in shown if _shape(line.partition("...")[0]) not in whole]


def _shape(text: str) -> str:
    """Without figures, verdicts and breaks between words."""
    text = re.sub(
        r"\b(?:faster|SLOWER)\b", "faster", re.sub(r"\b(?:sooner|LATER)\b", "sooner", text)
    )
    return " ".join(re.sub(r"[\d.,:]*\d", "#", text.replace("─", "")).split())


def arguments(command: str) -> Iterator[tuple[str, list[str]]]:
    """The programs of ours that a command names, each with its arguments."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    words = list(lexer)
    for at, word in enumerate(words):
        if word in OURS:
            rest = words[at + 1 :]
            ends = (n for n, each in enumerate(rest) if set(each) <= set("&|;") and each)
            yield word, rest[: next(ends, len(rest))]
