"""What is installed is what locks/ names: all of it, by hashes, and as the pins say."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dni_async.config.run_config import tomllib

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?: \\)?")
# File, the extras that it is made for.
MADE_FOR = {"dev.txt": ("dev",), "image.txt": ("metrics", "dashboard")}
CPU, CUDA = TORCH = ("torch-cpu.txt", "torch-cuda.txt")
PYTHONS = ("3.10.0", "3.11.4", "3.11.9", "3.12.0", "3.13.0")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """What a lock names, each with the hashes of its files; fails at anything else in it."""
    found: list[tuple[Requirement, list[str]]] = []
    for line in (LOCKS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            told = HASH.fullmatch(line.strip())
            assert told is not None, line
            found[-1][1].append(told[1])
        elif not line.startswith("#"):
            found.append((Requirement(line.removesuffix(" \\")), []))
    return found


def version_of(requirement: Requirement) -> str:
    """The one version that it allows."""
    (pin,) = requirement.specifier
    assert pin.operator == "==", requirement
    assert "*" not in pin.version, requirement
    return pin.version


def locked(name: str, python: str) -> dict[str, str]:
    """Versions by package, as a Python of that version installs them on Linux."""
    found: dict[str, str] = {}
    for requirement, _ in entries(name):
        if is_for(requirement, python):
            package = canonicalize_name(requirement.name)
            assert package not in found, f"{package} twice for {python}"
            found[package] = version_of(requirement)
    return found


def is_for(requirement: Requirement, python: str, extra: str = "") -> bool:
    """Whether its marker holds there."""
    minor = ".".join(python.split(".")[:2])
    place = {"python_version": minor, "python_full_version": python, "extra": extra}
    place |= {"sys_platform": "linux", "platform_machine": "x86_64"}
    return requirement.marker is None or requirement.marker.evaluate(
        {**default_environment(), **place}
    )


def asked_for(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject.toml asks for; an extra may name others."""
    found = [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in extras:
        for text in PROJECT["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == PROJECT["name"]:
                found += asked_for(tuple(requirement.extras))
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("name", ["dev.txt", "image.txt", *TORCH])
def test_every_package_has_one_version_and_hashes_of_its_files(name: str) -> None:
    found = entries(name)
    assert len(found) > 15 or name == CPU
    assert not [str(each) for each, hashes in found if not hashes]
    for requirement, _ in found:
        version_of(requirement)
        assert requirement.url is None
    assert "://" not in (LOCKS / name).read_text(encoding="utf-8")  # whose index is not said


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", MADE_FOR)
def test_all_that_is_asked_for_is_locked_as_the_pins_say(name: str, python: str) -> None:
    found = locked(name, python) | locked(CUDA, python)
    for requirement in asked_for(MADE_FOR[name]):
        if is_for(requirement, python):
            version = found[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement
    assert "setuptools" in found  # which makes the package itself, without an index
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if is_for(pin, python) and canonicalize_name(pin.name) in found:
                assert found[canonicalize_name(pin.name)] == version_of(pin), pin


def test_the_image_holds_what_the_tests_ran_with() -> None:
    for python in PYTHONS:
        tested, image = locked("dev.txt", python), locked("image.txt", python)
        assert image.items() <= tested.items()


def test_this_environment_is_what_is_locked() -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    named = locked("dev.txt", python) | {"torch": locked(CUDA, python)["torch"]}
    installed = {package: metadata.version(package).partition("+")[0] for package in named}
    assert installed == named


def test_nothing_that_an_installed_package_needs_is_left_out() -> None:
    """Which --no-deps would not notice."""
    python = ".".join(map(str, sys.version_info[:3]))
    named = locked("dev.txt", python)
    found = named | locked(CUDA, python)
    for package in (*named, "torch"):
        for text in metadata.requires(package) or ():
            needed = Requirement(text)
            if is_for(needed, python):
                version = found.get(canonicalize_name(needed.name))
                assert version is not None, f"{package} needs {needed}"
                assert needed.specifier.contains(version), f"{package} needs {needed}"


def test_torch_is_of_one_version_with_cuda_and_without() -> None:
    assert {each.name for each, _ in entries(CPU)} == {"torch"}
    for python in PYTHONS:
        without = locked(CPU, python).get("torch")
        assert without in (None, f"{locked(CUDA, python)['torch']}+cpu")
    assert locked(CPU, "3.11.9")


def test_a_file_that_is_not_the_one_meant_is_not_installed(tmp_path: Path) -> None:
    """pip refuses it: by its own index of one wheel, which somebody else has made."""
    wheel = tmp_path / "tomli_w-1.2.0-py3-none-any.whl"
    wheel.write_bytes(b"somebody else's")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-index", "--no-deps"]
    command += ["--find-links", str(tmp_path), "--require-hashes", "-d", str(tmp_path / "got")]
    ((_, hashes),) = [each for each in entries("dev.txt") if each[0].name == "tomli-w"]
    told = "".join(f" --hash=sha256:{each}" for each in hashes)
    (tmp_path / "lock.txt").write_text(f"tomli-w==1.2.0{told}\n")
    done = subprocess.run(
        [*command, "-r", str(tmp_path / "lock.txt")], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
