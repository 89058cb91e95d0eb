"""The house's lines: imports point down, and each heavy library has one door."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "core": 0,
    "catalog": 1,
    "similarity": 2,
    "ingest": 3,
    "rights": 3,
    "generators": 3,
    "screening": 4,
    "credentials": 4,
    "audit": 5,
    "sample": 5,
    "web": 6,
}
DOORS = {
    "prefect": ["flows/"],
    "ray": ["pipeline/core/work.py"],
    "distributed": ["pipeline/core/work.py"],
    "torch": ["pipeline/generators/", "pipeline/similarity/embeddings.py"],
    "c2pa": ["pipeline/credentials/", "pipeline/ingest/content_credentials.py"],
}
SOURCES = sorted(
    path.relative_to(ROOT).as_posix() for top in ("flows", "pipeline") for path in (ROOT / top).rglob("*.py")
)


def imported_modules(source: str) -> Iterator[str]:
    """Dotted names of every import in a file, at any depth."""
    for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import; write it in full"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("source", SOURCES)
def test_imports_point_down_only(source: str) -> None:
    parts = source.split("/")
    for module in imported_modules(source):
        target = module.split(".")
        if parts[0] == "pipeline":
            assert target[0] != "flows", f"{source} imports {module}: pipeline never imports flows"
            if target[0] == "pipeline" and len(target) > 1 and len(parts) > 2:
                here, there = parts[1], target[1]
                assert here == there or FLOORS[there] < FLOORS[here], f"{source} imports {module}: not below it"


@pytest.mark.parametrize("source", SOURCES)
def test_each_heavy_library_has_one_door(source: str) -> None:
    for module in imported_modules(source):
        doors = DOORS.get(module.split(".")[0])
        assert doors is None or any(source.startswith(door) for door in doors), f"{source} imports {module}"
