"""What a stranger installs: a wheel with exactly two packages and one console script, and pins that hold."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True
    )
    return zipfile.ZipFile(next(folder.glob("imprimatur-*.whl")))


def test_wheel_holds_exactly_the_two_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"flows", "pipeline"}


def test_wheel_brings_the_console_script_and_the_templates(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "imprimatur = flows.cli:main" in wheel.read(entry_points).decode()
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pipeline").rglob("templates/*.*")}
    assert templates and templates <= set(names)


def test_every_dependency_is_pinned_in_the_constraints() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.!]+", line), f"not an exact pin: {line}"
            name, version = line.split("==")
            pins[name.lower().replace("_", "-")] = version
    for text in requires("imprimatur") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": "dev"}):
            continue
        name = requirement.name.lower().replace("_", "-")
        assert name in pins, f"{name} is not pinned"
        assert requirement.specifier.contains(pins[name]), f"{name} {pins[name]} is outside {requirement.specifier}"
    assert pins["torch"] == "2.13.0"
