"""Options that commands share, and how they print."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Home = Annotated[Path | None, typer.Option("--home", help="The workspace [default: IMPRIMATUR_HOME or data/studio].")]
Config = Annotated[Path | None, typer.Option("--config", help="A job's YAML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines on standard output, and nothing else there.")]
Dataset = Annotated[str, typer.Option("--dataset", help="Name of an ingested dataset.")]
PurposeOption = Annotated[str, typer.Option("--purpose", help="USE or USE:commercial.")]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="A policy's YAML file [default: the built-in one].")
]
AsOf = Annotated[str | None, typer.Option("--as-of", help="What held at this moment [default: now].")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="As known at this moment [default: now].")]

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: Any, as_json: bool, text: str) -> None:
    """Print `value` as a JSON line, or `text` for a person."""
    typer.echo(json.dumps(value, ensure_ascii=False) if as_json else text)
