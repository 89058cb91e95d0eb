"""The command line. Heavy imports are inside the commands, so that --help answers at once."""

import errno
import os
import sys

import typer

from flows.cli import audits, credentials, data, models, proofs, rights, runs
from flows.cli.options import errors
from pipeline.core.errors import EnvironmentFault, ImprimaturError

app = typer.Typer(
    name="imprimatur",
    help="Schedule nightly generation batches, audit training-data consent, stamp outputs with content credentials.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 something needs a person, 2 usage or bad input, 3 the machine.",
)
for group in (runs, data, rights, audits, proofs, models, credentials):
    app.add_typer(group.app)

# numpy's BLAS on one thread: its threads wait in busy loops on a shared machine, and sums depend on their number
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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
