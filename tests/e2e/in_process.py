"""The command line within this process: what it prints and returns, without starting Python anew."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from flows.cli import main


@dataclass(frozen=True)
class Said:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


def said(*arguments: str) -> Said:
    """Run `imprimatur ARGUMENTS`."""
    out, err, code, before = io.StringIO(), io.StringIO(), 0, sys.argv
    sys.argv = ["imprimatur", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    return Said(code, out.getvalue(), err.getvalue())


def lines(*arguments: str) -> list[dict[str, Any]]:
    """The JSON Lines of a command, whatever it found."""
    done = said(*arguments, "--json")
    assert done.code in (0, 1), done.err
    return [json.loads(line) for line in done.out.splitlines()]
