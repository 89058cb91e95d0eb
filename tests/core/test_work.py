"""The work seam: every job's result or its failure, on processes and in series alike."""

import os
import signal
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
    jobs = [{"number": number} for number in range(6)]
    with mapper("serial") as pmap:
        results = list(pmap(fails_on_three, jobs))
    failures = [result for result in results if isinstance(result, Failure)]
    assert len(results) == 6
    assert [failure.job["number"] for failure in failures] == [3]
    with pytest.raises(ImprimaturError, match="1 shard"):
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
