"""What a person sees while a stage runs: a bar on a terminal, plain lines elsewhere. Always on standard error."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

console = Console(stderr=True, highlight=False)
Advance = Callable[[int, int, str], None]


@dataclass
class Stage:
    """One line of a run's account. `peak_memory` is the largest resident set so far, in MiB."""

    name: str
    taken: int = 0
    given: int = 0
    seconds: float = 0.0
    note: str = ""
    peak_memory: float = 0.0


@contextmanager
def timed_stage(name: str, account: list[Stage]) -> Iterator[Stage]:
    """Time a stage, add it to the account and say in one line what came of it."""
    stage = Stage(name)
    started = time.monotonic()
    yield stage
    stage.seconds = time.monotonic() - started
    stage.peak_memory = peak_memory()
    account.append(stage)
    figures = f"{stage.given:>7,} of {stage.taken:>7,}  {stage.seconds:6.1f} s"
    console.print(f"[bold]{name:<9}[/] {figures}  {escape(stage.note)}", soft_wrap=True)


@contextmanager
def bar(title: str) -> Iterator[Advance]:
    """A progress bar on a terminal; silent elsewhere. Call the result with (done, total, note)."""
    if not console.is_terminal:
        yield lambda done, total, note: None
        return
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda done, total, note: progress.update(task, completed=done, total=total, note=note)


def peak_memory() -> float:
    """Largest resident set of this process or of any finished child, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) / 1024
