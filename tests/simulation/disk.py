"""A disk that forgets what was not synced, and that may keep something else than was written."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

__all__ = ["Disk"]

Tree = dict[str, "Tree | bytes"]


class Disk:
    """Real files in memory, and what of them is on disk: contents of files that were synced, and
    the names in folders that were, by inode.

    Of all else a loss of power leaves anything: a file empty, cut short or whole; a name that was
    given, taken or changed, or not. A renaming has happened or not.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self.changes = 0  # of what lies there, that nobody has written

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Within the block syncing is heard of."""
        with mock.patch("os.fsync", self._sync):
            yield

    def _sync(self, number: int) -> None:
        facts = os.fstat(number)
        if stat.S_ISDIR(facts.st_mode):
            with os.scandir(number) as entries:
                self._names[facts.st_ino] = {each.name: each.inode() for each in entries}
        else:
            self._contents[facts.st_ino] = Path(f"/proc/self/fd/{number}").read_bytes()

    def spoil(self, path: Path) -> None:
        """What was written there is something else from now on."""
        self.changes += 1
        content = bytearray(path.read_bytes())
        kind = self._draw.randrange(3)
        if kind == 0:
            content = content[: self._draw.randrange(len(content))]
        else:
            at = self._draw.randrange(len(content))
            content[at:] = bytes(len(content) - at) if kind == 1 else content[at + 1 :]
        path.write_bytes(content)

    def lose(self, folder: Path, files: tuple[Path, ...]) -> None:
        """The power is lost: what lies in folder and files is what was on disk, or might be."""
        self.changes += 1
        if folder.is_dir():
            live = _Live(folder)
            tree = self._tree(live, folder.stat().st_ino)
            shutil.rmtree(folder)
            assert isinstance(tree, dict)
            self._write(folder, tree)
        for path in files:
            if path.is_file():
                inode = path.stat().st_ino
                path.write_bytes(self._content(inode, path.read_bytes()))
                self._contents[inode] = path.read_bytes()

    def _write(self, folder: Path, tree: Tree) -> None:
        """What is left is what is on disk."""
        folder.mkdir()
        for name, content in tree.items():
            path = folder / name
            if isinstance(content, dict):
                self._write(path, content)
            else:
                path.write_bytes(content)
                self._contents[path.stat().st_ino] = content
        inode = folder.stat().st_ino
        self._names[inode] = {path.name: path.stat().st_ino for path in folder.iterdir()}

    def _tree(self, live: _Live, inode: int) -> Tree | bytes:
        if inode not in live.names and inode not in self._names:
            return self._content(inode, live.contents.get(inode))
        then, now = self._names.get(inode, {}), live.names.get(inode, {})
        return {name: self._tree(live, each) for name, each in self._kept(then, now).items()}

    def _kept(self, then: dict[str, int], now: dict[str, int]) -> dict[str, int]:
        """The names of a folder that was like then when it was synced."""
        draw, kept = self._draw, {}
        for name in sorted(then.keys() | now.keys()):
            old, new = then.get(name), now.get(name)
            if old == new:
                kept[name] = old
            elif draw.random() < 0.5:
                kept[name] = new
            else:
                kept[name] = old
        found = {name: inode for name, inode in kept.items() if inode is not None}
        moved = set(then.values()) & set(now.values())
        for inode in sorted(moved):
            before = next(name for name, each in then.items() if each == inode)
            after = next(name for name, each in now.items() if each == inode)
            if before == after:
                continue
            goes = draw.random() < 0.5
            for name in (before, after):
                if found.get(name) == inode:
                    del found[name]
            found[after if goes else before] = inode
        return found

    def _content(self, inode: int, live: bytes | None) -> bytes:
        synced = self._contents.get(inode)
        if live is None or live == synced:
            return synced or b""
        kept = synced if synced is not None and live.startswith(synced) else b""
        rest = live[len(kept) :]
        kind = self._draw.randrange(3)
        if kind == 0:
            return live
        cut = self._draw.randint(0, len(rest))
        return kept + rest[:cut] + (bytes(len(rest) - cut) if kind == 1 else b"")


class _Live:
    """What lies below a folder: contents and names, by inode."""

    def __init__(self, folder: Path) -> None:
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {}
        self._read(folder, folder.stat().st_ino)

    def _read(self, folder: Path, inode: int) -> None:
        names = self.names[inode] = {}
        for path in sorted(folder.iterdir()):
            facts = path.lstat()
            names[path.name] = facts.st_ino
            if stat.S_ISDIR(facts.st_mode):
                self._read(path, facts.st_ino)
            else:
                self.contents[facts.st_ino] = path.read_bytes()
