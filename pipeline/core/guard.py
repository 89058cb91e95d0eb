"""A child process that examines hostile files: it may crash, hang or eat memory, and only one file is lost.

Python cannot stop a decoder that is stuck in C. So such work runs in a child: the kernel stops it when one item takes
too much processor time, its memory is limited, and its parent goes on with the next item in a new one. Children are
forked from a small server that has the decoders loaded, which costs milliseconds. What they answer crosses as JSON:
a child that a file has taken over can do no more than lie about that file.
"""

import base64
import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from pipeline.core.errors import EnvironmentFault, ImprimaturError, NeedsPerson

_START_SECONDS = 120.0  # until a child has imported what it needs, on a busy machine
_LONGEST_ANSWER = 64 * 2**20  # bytes
_READY = b"ready"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_FAULTS = {kind.__name__: kind for kind in (ImprimaturError, NeedsPerson, EnvironmentFault)}

State = TypeVar("State")
Thing = TypeVar("Thing")
Work = Callable[[State, Thing], Any]


class GuardReason(StrEnum):
    """Why an examination did not end."""

    TIME_LIMIT = "TIME_LIMIT"
    MEMORY_LIMIT = "MEMORY_LIMIT"
    DECODER_DIED = "DECODER_DIED"


class ChildKilledError(RuntimeError):
    """The machine is out of memory, or a person did it: not the file's fault."""


@dataclass(frozen=True)
class Limits:
    """What one item may take."""

    seconds: float = 10.0  # of processor time: the same verdict on a busy machine
    memory: int = 2_000_000_000  # bytes on top of what the child begins with
    patience: float = 12.0  # times as many seconds of the clock, before a child that waits for something is given up


@dataclass(frozen=True)
class Lost(Generic[Thing]):
    """An item whose examination did not end, and why."""

    item: Thing
    reason: GuardReason
    detail: str


class Guard(Generic[State, Thing]):
    """A context in which `work(state, item)` is done by a child, started when first needed and after each death.

    `work` is a top-level function; it answers with None, numbers, texts, bytes, and lists and dicts of them (tuples
    arrive as lists). `state` is copied to each child: the caller brings its own copy up to date from the answers,
    before asking for the next. Not for several threads at once.
    """

    def __init__(self, work: Work[State, Thing], state: State, limits: Limits) -> None:
        self._work, self._state, self._limits = work, state, limits
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> "Guard[State, Thing]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def examine(self, item: Thing) -> Any | Lost[Thing]:
        """The answer for one item, or Lost."""
        (answer,) = self.examine_all([item])
        return answer

    def examine_all(self, items: Sequence[Thing]) -> Iterator[Any | Lost[Thing]]:
        """The answer for each item in order, Lost for one that breaks a limit; the child works ahead.

        Raises ChildKilledError when children are killed from outside, and the ImprimaturError that `work` raises.
        """
        position = 0
        try:
            while position < len(items):
                pipe = self._pipe or self._start()
                try:
                    pipe.send(items[position:])
                except OSError:  # it died while it waited
                    self._stop()
                while position < len(items) and self._pipe is not None:
                    position += 1
                    yield self._answer(pipe, items[position - 1])
        finally:
            if position < len(items):  # the rest is not asked for any more
                self._stop()

    def _answer(self, pipe: Connection, item: Thing) -> Any | Lost[Thing]:
        """The child's next answer; the child is gone when there is none, or none that can be understood."""
        try:
            if not pipe.poll(self._limits.patience * self._limits.seconds):
                self._stop()
                return Lost(item, GuardReason.TIME_LIMIT, "it waited and did nothing")
            kind, *answer = json.loads(pipe.recv_bytes(_LONGEST_ANSWER), object_hook=_as_bytes)
            if kind == "lost":
                return Lost(item, GuardReason(answer[0]), str(answer[1]))
            fault = _FAULTS[kind](*map(str, answer)) if kind != "done" else None
        except (EOFError, OSError):
            return Lost(item, *self._cause())
        except (ValueError, TypeError, LookupError):
            self._stop()
            return Lost(item, GuardReason.DECODER_DIED, "it answered nonsense")
        if fault is not None:
            raise fault
        return answer[0]

    def _start(self) -> Connection:
        context = multiprocessing.get_context("forkserver")  # no threads and locks: a fork would inherit both
        context.set_forkserver_preload(["__main__", self._work.__module__])
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self._work, self._state, self._limits)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        with contextlib.suppress(EOFError, OSError):
            if self._pipe.poll(_START_SECONDS) and self._pipe.recv_bytes() == _READY:
                return self._pipe
        self._stop()
        raise TimeoutError("the process that reads files did not start")

    def _stop(self) -> None:
        """End the child at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _cause(self) -> tuple[GuardReason, str]:
        """Why the child ended without a sound answer. Raises ChildKilledError when it was killed."""
        self._process.join(self._limits.seconds)
        code = self._process.exitcode
        self._stop()
        if code == -signal.SIGPROF:
            return GuardReason.TIME_LIMIT, ""
        if code == -signal.SIGKILL:
            raise ChildKilledError("the process that reads files was killed")
        if code is None:
            return GuardReason.DECODER_DIED, "its answer is too long"
        return GuardReason.DECODER_DIED, signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _serve(pipe: Connection, work: Any, state: Any, limits: Limits) -> None:
    """The child: examine items until the pipe closes, or it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    most = _data_size() + limits.memory
    with contextlib.suppress(OSError, ValueError):  # not every system has the limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what native readers say of broken files
    _keep_memory()
    pipe.send_bytes(_READY)
    with contextlib.suppress(EOFError):
        while True:
            for item in pipe.recv():
                pipe.send_bytes(json.dumps(_examined(work, state, item, limits), default=_of_bytes).encode())


def _examined(work: Any, state: Any, item: Any, limits: Limits) -> list[Any]:
    """What crosses for an item: a kind, and what belongs to it."""
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)
    try:
        return ["done", work(state, item)]
    except (MemoryError, RecursionError):
        return ["lost", GuardReason.MEMORY_LIMIT, f"more than {limits.memory:,} bytes"]
    except ImprimaturError as error:  # the machine's fault, not the file's
        return [type(error).__name__, error.message, error.fix]
    except Exception as error:
        return ["lost", GuardReason.DECODER_DIED, f"{type(error).__name__}: {error}"[:300]]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _keep_memory() -> None:
    """Have what one item frees kept for the next, up to 128 MB: from the kernel it costs time anew."""
    with contextlib.suppress(OSError, AttributeError):  # glibc's mallopt; others do without
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 2**25)  # the most that it takes
        mallopt(_TRIM_THRESHOLD, 2**27)


def _of_bytes(value: Any) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _as_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value


def _data_size() -> int:
    """Bytes of this process's data and stack; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    except OSError:
        return 0
