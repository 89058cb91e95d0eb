"""A child process that examines hostile files: it may crash, hang or eat memory, and only one file is lost.

Python cannot stop a decoder that is stuck in C. So the work of a shard runs in a child; the kernel stops the child
when one item takes too much processor time, its address space is limited, and its parent goes on with the next item.
Children are forked from a small server that has the decoders loaded, which costs milliseconds.
"""

import contextlib
import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.core.errors import ImprimaturError
from pipeline.ingest.reasons import IngestReason

SECONDS = 10.0  # of processor time for one item: the same verdict on a busy machine
MEMORY = 2_000_000_000  # bytes of address space on top of what the child begins with
_PATIENCE = 12  # wall-clock times SECONDS before a child that waits for something is given up

State = TypeVar("State")
Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Limits:
    """What one item may take."""

    seconds: float = SECONDS
    memory: int = MEMORY


@dataclass(frozen=True)
class Lost(Generic[Thing]):
    """An item whose examination did not end, and the reason code."""

    item: Thing
    reason: str
    detail: str


Work = Callable[[State, Thing], Outcome]


def guarded(
    work: Work[State, Thing, Outcome], state: State, items: Sequence[Thing], limits: Limits
) -> Iterator[Outcome | Lost[Thing]]:
    """`work(state, item)` for each item in order, in a child; Lost for an item that breaks a limit.

    `state` is copied to each child: the caller brings its own copy up to date from the outcomes, before asking for
    the next. Raises RuntimeError when children are killed from outside, and the ImprimaturError that `work` raises.
    """
    position = 0
    while position < len(items):
        parent, child = multiprocessing.Pipe(duplex=False)
        process = _context().Process(target=_serve, args=(child, work, state, items[position:], limits), daemon=True)
        process.start()
        child.close()
        try:
            while position < len(items):
                if not parent.poll(_PATIENCE * limits.seconds):
                    process.kill()
                    yield Lost(items[position], IngestReason.TIME_LIMIT, "it waited and did nothing")
                    position += 1
                    break
                outcome = parent.recv()
                if isinstance(outcome, ImprimaturError):
                    raise outcome
                yield Lost(items[position], *outcome) if isinstance(outcome, _Fault) else outcome
                position += 1
        except (EOFError, OSError):
            process.join()
            yield Lost(items[position], *_cause(process.exitcode or 0))
            position += 1
        finally:
            parent.close()
            process.kill()
            process.join()


class _Fault(tuple[str, str]):
    """(reason, detail) on its way from the child."""


def _serve(connection: Connection, work: Any, state: Any, items: Sequence[Any], limits: Limits) -> None:
    """The child: examine item after item until it is done, or dead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    most = _address_space() + limits.memory
    with contextlib.suppress(OSError, ValueError):  # not every system has the limit
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for item in items:
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        try:
            outcome = work(state, item)
        except MemoryError:
            outcome = _Fault((IngestReason.MEMORY_LIMIT, f"more than {limits.memory:,} bytes"))
        except ImprimaturError as error:  # the machine's fault, not the file's
            outcome = error
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send(outcome)


def _cause(exit_code: int) -> tuple[str, str]:
    """Reason code and detail for a child that ended without an answer. Raises RuntimeError when it was killed."""
    if exit_code == -signal.SIGPROF:
        return IngestReason.TIME_LIMIT, ""
    if exit_code == -signal.SIGKILL:  # the machine is out of memory, or a person did it: not the file's fault
        raise RuntimeError("the process that reads files was killed")
    name = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
    return IngestReason.DECODER_DIED, name


def _address_space() -> int:
    """Bytes of this process's address space; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _context() -> Any:
    """Children of a server without threads and locks: a fork of this process would inherit both."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "pipeline.ingest.shard"])
    return context
