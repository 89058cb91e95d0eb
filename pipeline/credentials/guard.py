"""Verifying files from strangers: a worker process reads them, within bounds of time and memory.

Readers of image files and manifests may hang, exhaust the memory or crash the process (deep boxes overflow a native
stack, which nothing in Python can catch). The worker may die of a file, and the next file gets a new one. Answers
cross as JSON, so that a worker which a file has taken over cannot do more than lie about that file.
"""

import json
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.core.workspace import Workspace
from pipeline.credentials.claims import ChainLink
from pipeline.credentials.verify import Verification, checked_anchors, examine, unreadable, with_evidence

SECONDS = 8.0  # for one file
MEMORY = 900 * 2**20  # bytes of the worker's data, some 250 MB of which are its own
START_SECONDS = 60.0  # until a worker has imported what it needs
_LONGEST_ANSWER = 16 * 2**20  # bytes
_READY = b"ready"


@contextmanager
def guarded(
    anchors_pem: Sequence[str] = (),
    workspace: Workspace | None = None,
    watermark_key: bytes | None = None,
    seconds: float = SECONDS,
    memory: int = MEMORY,
) -> Iterator[Callable[[Path], Verification]]:
    """Yield a function that verifies a file as verify.verify does, and always comes back.

    Codes of a file that was given up: file.timeout, file.exhausted (memory), file.crashedReader; its state is
    Unreadable. Not safe for several threads at once. Raises ImprimaturError for anchors that are none.
    """
    checked_anchors(anchors_pem)
    worker = _Worker(list(anchors_pem), workspace, watermark_key, seconds, memory)
    try:
        yield lambda path: with_evidence(worker.examine(path), anchors_pem, workspace)
    finally:
        worker.stop()


class _Worker:
    """One process that examines files, started when first needed and again after each death."""

    def __init__(self, *arguments: Any) -> None:
        *self._arguments, self._seconds, self._memory = arguments
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([__name__])  # so that a new worker starts in milliseconds
        self._process: Any = None
        self._pipe: Connection | None = None

    def examine(self, path: Path) -> Verification:
        """What the file says, or why it was given up."""
        pipe = self._pipe or self._start()
        try:
            pipe.send_bytes(os.fsencode(path))
            if pipe.poll(self._seconds):
                return _from_wire(pipe.recv_bytes(_LONGEST_ANSWER))
            code = "file.timeout"
        except (OSError, EOFError, ValueError, TypeError, KeyError):
            code = "file.crashedReader"
        self.stop()
        return unreadable(path, code)

    def stop(self) -> None:
        """End the worker at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _start(self) -> Connection:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, *self._arguments, self._memory), daemon=True
        )
        self._process.start()
        theirs.close()
        if not self._pipe.poll(START_SECONDS) or self._pipe.recv_bytes() != _READY:
            self.stop()
            raise TimeoutError("the verifying process did not start")
        return self._pipe


def _serve(
    pipe: Connection, anchors_pem: list[str], workspace: Workspace | None, watermark_key: bytes | None, memory: int
) -> None:
    """The worker: one answer for each path, until the pipe closes."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # what native readers say of broken files
    pipe.send_bytes(_READY)
    while True:
        try:
            path = Path(os.fsdecode(pipe.recv_bytes()))
        except EOFError:
            return
        try:
            answer = _to_wire(examine(path, anchors_pem, workspace, watermark_key))
        except (MemoryError, RecursionError):
            answer = _to_wire(unreadable(path, "file.exhausted"))
        pipe.send_bytes(answer)


def _to_wire(found: Verification) -> bytes:
    return json.dumps(asdict(found)).encode()


def _from_wire(answer: bytes) -> Verification:
    fields = json.loads(answer)
    chain = [ChainLink(**{**link, "facts": tuple((name, value) for name, value in link["facts"])})
             for link in fields.pop("chain")]  # fmt: skip
    return Verification(**fields, chain=tuple(chain))
