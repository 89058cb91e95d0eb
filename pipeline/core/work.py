"""The work seam: run a top-level function over job dicts on processes, Ray or Dask.

A job names its input and output; no pixels cross the seam. A bounded window of jobs is in flight; a failed job is
tried again, and what still fails comes back as a Failure instead of ending the map. The only file that imports
Ray or Dask.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

from pipeline.core.errors import ImprimaturError

Job = dict[str, Any]
Result = dict[str, Any]
Backend = Literal["processes", "serial", "ray", "dask"]
First = TypeVar("First")
Second = TypeVar("Second")
ATTEMPTS = 2
DIED = "a worker process died (killed, or out of memory)"


@dataclass(frozen=True)
class Failure:
    """A job that failed on every attempt."""

    job: Job
    error: str


ParallelMap = Callable[[Callable[[Job], Result], Iterable[Job]], Iterator[Result | Failure]]


def both(apart: bool, first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """What two functions give; `apart` runs them at once, on two threads: for work by column, which needs no GIL."""
    if not apart:
        return first(), second()
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(second)
        return first(), other.result()


@contextmanager
def mapper(backend: Backend = "processes", workers: int = 2, address: str | None = None) -> Iterator[ParallelMap]:
    """Yield a function that maps over jobs in the order in which they finish.

    `workers` bounds the processes (and the window of jobs in flight); `address` names a running Ray or Dask cluster.
    Errors of the kind that a person must mend (ImprimaturError) end the map; others are retried.
    """
    if backend == "serial" or workers == 1:
        yield _serial
    elif backend == "processes":
        # spawn: a forked child would inherit torch's and SQLite's threads and locks
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker) as pool:
            yield lambda function, jobs: _windowed(pool, function, jobs, window=2 * workers)
    elif backend == "dask":
        with _dask_client(workers, address) as client:
            executor = client.get_executor(pure=False)
            yield lambda function, jobs: _windowed(executor, function, jobs, window=2 * workers)
    else:
        with _ray_map(workers, address) as ray_map:
            yield ray_map


def raise_failures(results: Iterable[Result | Failure]) -> list[Result]:
    """Collect results; raise ImprimaturError when any job failed on every attempt, after all others are done."""
    done: list[Result] = []
    failed: list[Failure] = []
    for result in results:
        if isinstance(result, Failure):
            failed.append(result)
        else:
            done.append(result)
    if failed:
        named = {name: value for name, value in failed[0].job.items() if isinstance(value, str | int)}
        raise ImprimaturError(
            f"{len(failed)} shard(s) failed on {ATTEMPTS} attempts; the first: {failed[0].error} in {named}",
            "mend the cause and run the same command again; finished shards are kept",
        )
    return done


def _prepare_worker() -> None:
    """One thread for the work, and one that ends a worker whose parent was killed: it would wait forever."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(function: Callable[[Job], Result], job: Job) -> Result | Failure:
    error = ""
    for _ in range(ATTEMPTS):
        try:
            return function(job)
        except ImprimaturError:
            raise
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
    return Failure(job, error)


def _serial(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result | Failure]:
    return (_attempt(function, job) for job in jobs)


def _windowed(
    pool: Any, function: Callable[[Job], Result], jobs: Iterable[Job], window: int
) -> Iterator[Result | Failure]:
    """At most `window` jobs in flight. A worker that died fails its job; the next run takes it up again."""
    waiting = iter(jobs)
    running: dict[Future[Result | Failure], Job] = {}
    while True:
        for job in islice(waiting, window - len(running)):
            try:
                running[pool.submit(_attempt, function, job)] = job
            except BrokenProcessPool:  # one worker's death ends the whole pool
                yield Failure(job, DIED)
        if not running:
            yield from (Failure(job, DIED) for job in waiting)
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            job = running.pop(future)
            try:
                yield future.result()
            except BrokenProcessPool:
                yield Failure(job, DIED)


@contextmanager
def _dask_client(workers: int, address: str | None) -> Iterator[Any]:
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise ImprimaturError("workers: dask is not installed", "pip install 'imprimatur[dask]'") from None
    options = {"address": address} if address else {"n_workers": workers, "threads_per_worker": 1}
    # ingest's workers have children of their own, which daemons may not
    with dask.config.set({"distributed.worker.daemon": False}), Client(**options) as client:
        yield client


@contextmanager
def _ray_map(workers: int, address: str | None) -> Iterator[ParallelMap]:
    try:
        import ray
    except ImportError:
        raise ImprimaturError("workers: ray is not installed", "pip install 'imprimatur[ray]'") from None
    options = {"address": address} if address else {"num_cpus": workers}
    ray.init(ignore_reinit_error=True, log_to_driver=False, **options)

    def ray_map(function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result | Failure]:
        attempt = ray.remote(_attempt)
        waiting = iter(jobs)
        running: dict[Any, Job] = {}
        while True:
            for job in islice(waiting, 2 * workers - len(running)):
                running[attempt.remote(function, job)] = job
            if not running:
                return
            finished, _ = ray.wait(list(running), num_returns=1)
            job = running.pop(finished[0])
            try:
                yield ray.get(finished[0])
            except ray.exceptions.WorkerCrashedError as error:
                yield Failure(job, str(error))

    try:
        yield ray_map
    finally:
        ray.shutdown()
