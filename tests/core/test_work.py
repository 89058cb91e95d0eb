"""The work seam: every job's result or its failure, on processes and in series alike."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ImprimaturError
from pipeline.core.work import Backend, Failure, mapper, raise_failures


def square(job: dict[str, Any]) -> dict[str, Any]:
    return {"number": job["number"], "square": job["number"] ** 2}


def fails_once(job: dict[str, Any]) -> dict[str, Any]:
    mark = Path(job["mark"])
    if mark.exists():
        return {"tries": 2}
    mark.touch()
    raise OSError("a passing fault")


def fails_on_three(job: dict[str, Any]) -> dict[str, Any]:
    if job["number"] == 3:
        raise ValueError("three")
    return square(job)


def bad_input(job: dict[str, Any]) -> dict[str, Any]:
    raise ImprimaturError("file x: field y is wrong", "mend y")


def dies(job: dict[str, Any]) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@pytest.mark.parametrize("backend", ["processes", "serial"])
def test_every_job_gives_one_result(backend: Backend) -> None:
    jobs = [{"number": number} for number in range(25)]
    with mapper(backend, workers=2) as pmap:
        results = raise_failures(pmap(square, jobs))
    assert sorted(result["square"] for result in results) == [number**2 for number in range(25)]


def test_a_failing_job_does_not_end_the_map_and_is_named() -> None:
    jobs = [{"number": number, "items": ["one of thousands"]} for number in range(6)]
    with mapper("serial") as pmap:
        results = list(pmap(fails_on_three, jobs))
    failures = [result for result in results if isinstance(result, Failure)]
    assert len(results) == 6
    assert [failure.job["number"] for failure in failures] == [3]
    with pytest.raises(ImprimaturError, match=r"1 shard.*\{'number': 3\}"):
        raise_failures(results)


def test_a_passing_fault_is_tried_again(tmp_path: Path) -> None:
    with mapper("serial") as pmap:
        assert raise_failures(pmap(fails_once, [{"mark": str(tmp_path / "mark")}])) == [{"tries": 2}]


def test_bad_input_ends_the_map_with_its_own_words() -> None:
    with mapper("processes", workers=2) as pmap, pytest.raises(ImprimaturError, match="field y") as caught:
        list(pmap(bad_input, [{}]))
    assert caught.value.fix == "mend y"


def test_a_killed_worker_is_a_failure_and_not_a_hang() -> None:
    with mapper("processes", workers=2) as pmap:
        results = list(pmap(dies, [{"number": number} for number in range(20)]))
    assert len(results) == 20, "no job is lost with the pool"
    assert all(isinstance(result, Failure) and "died" in result.error for result in results)


def names_itself_and_stays(job: dict[str, Any]) -> dict[str, Any]:
    Path(job["mark"]).write_text(str(os.getpid()))
    time.sleep(60)
    return {}


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    marks = [tmp_path / "first", tmp_path / "second"]
    script = tmp_path / "parent.py"
    script.write_text(
        "from pipeline.core.work import mapper\n"
        "from tests.core.test_work import names_itself_and_stays\n"
        "if __name__ == '__main__':\n"
        "    with mapper(workers=2) as pmap:\n"
        f"        list(pmap(names_itself_and_stays, {[{'mark': str(mark)} for mark in marks]!r}))\n"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": root})
    wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    workers = [int(mark.read_text()) for mark in marks]
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_running(worker) for worker in workers))


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
