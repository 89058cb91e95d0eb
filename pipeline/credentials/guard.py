"""Verifying files from strangers: a child process reads them, within bounds of time and memory (see core/guard.py).

Readers of image files and manifests may hang, exhaust the memory or crash the process (deep boxes overflow a native
stack, which nothing in Python can catch).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.core.guard import ChildKilledError, Guard, GuardReason, Limits, Lost
from pipeline.core.workspace import Workspace
from pipeline.credentials.claims import ChainLink
from pipeline.credentials.verify import Verification, checked_anchors, examine, unreadable, with_evidence

SECONDS = 8.0  # for one file, of the processor and of the clock
MEMORY = 650 * 2**20  # bytes, beside some 250 MB of the child's own
_CODES = {
    GuardReason.TIME_LIMIT: "file.timeout",
    GuardReason.MEMORY_LIMIT: "file.exhausted",
    GuardReason.DECODER_DIED: "file.crashedReader",
}
_State = tuple[list[str], Workspace | None, bytes | None]


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
    state = (list(anchors_pem), workspace, watermark_key)
    with Guard(_examined, state, Limits(seconds, memory, patience=1)) as guard:
        yield lambda path: with_evidence(_verification(guard, path), anchors_pem, workspace)


def _examined(state: _State, path: Path) -> dict[str, Any]:
    return asdict(examine(path, *state))


def _verification(guard: Guard[_State, Path], path: Path) -> Verification:
    """What the file says, or why it was given up."""
    try:
        found = guard.examine(path)
        return unreadable(path, _CODES[found.reason]) if isinstance(found, Lost) else _of_fields(found)
    except (ChildKilledError, TypeError, ValueError, LookupError):
        return unreadable(path, "file.crashedReader")


def _of_fields(fields: dict[str, Any]) -> Verification:
    chain = [ChainLink(**{**link, "facts": tuple((name, value) for name, value in link["facts"])})
             for link in fields.pop("chain")]  # fmt: skip
    return Verification(**fields, chain=tuple(chain))
