"""The command line. Heavy imports are inside the commands, so that --help answers at once."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.workspace import Workspace

app = typer.Typer(
    name="imprimatur",
    help="Schedule nightly generation batches, audit training-data consent, stamp outputs with content credentials.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 something needs a person, 2 usage or bad input, 3 the machine.",
)
consent_app = typer.Typer(help="The consent ledger: import events, check its chain.", no_args_is_help=True)
audit_app = typer.Typer(help="What may be used, and why.", no_args_is_help=True)
app.add_typer(consent_app, name="consent")
app.add_typer(audit_app, name="audit")

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


def main() -> None:
    """Run a command; turn every fault into a message that names the thing and the fix, and an exit code."""
    try:
        app(standalone_mode=True)
    except ImprimaturError as error:
        _fail(error)
    except KeyboardInterrupt:
        errors.print("stopped; run the same command again to go on where it stopped")
        sys.exit(130)
    except Exception as error:
        _fail(_machine_fault(error))


def _fail(error: ImprimaturError) -> None:
    errors.print(f"error: {error.message}", markup=False)
    if error.fix:
        errors.print(f"  fix: {error.fix}", markup=False)
    sys.exit(error.exit_code)


def _machine_fault(error: Exception) -> ImprimaturError:
    """The fault behind an unexpected exception. Raises it again when it is not the machine's."""
    text = f"{error}".lower()
    full = getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in text or "no space left" in text
    if full:
        return EnvironmentFault(
            "the disk is full", "free space and run the same command again; finished work is kept"
        )
    if isinstance(error, MemoryError):
        return EnvironmentFault("out of memory", "lower work.workers or work.shard_size in the configuration")
    if os.environ.get("IMPRIMATUR_DEBUG"):
        raise error
    return EnvironmentFault(
        f"unexpected {type(error).__name__}: {error}", "this is a defect: set IMPRIMATUR_DEBUG=1 for the traceback"
    )


def _print(value: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False) if as_json else text)
