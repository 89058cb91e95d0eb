"""Every command that the documents show is one that the command line understands."""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer.main

from flows.cli import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    (document.name, line.split("#")[0].strip())
    for document in DOCUMENTS
    for block in re.findall(r"```\n(.*?)```", document.read_text(encoding="utf-8"), re.S)
    for line in block.splitlines()
    if line.split("/")[-1].startswith("imprimatur ") or line.startswith("imprimatur ")
]


def parse(command: click.Command, name: str, arguments: list[str]) -> None:
    """Parse a command line as click would, without running it."""
    context = command.make_context(name, list(arguments))
    if isinstance(command, click.Group):
        _, inner, rest = command.resolve_command(context, [*context.protected_args, *context.args])
        assert inner is not None
        parse(inner, inner.name or "", rest)


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_shown_commands_parse(document: str, line: str) -> None:
    parse(typer.main.get_command(app), "imprimatur", shlex.split(line)[1:])


def test_every_command_is_documented() -> None:
    shown = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"`?imprimatur {name}\b|`{name}", shown), f"{name} is in no document"


def test_every_reason_code_is_documented_with_its_sentence() -> None:
    from flows.report import explanations

    written = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for code, sentence in explanations().items():
        assert f"| `{code}` | {sentence} |" in written
