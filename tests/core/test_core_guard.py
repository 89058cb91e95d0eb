"""The guard: items that hang, eat memory or crash are lost alone, and the ones after them are examined."""

import os
import signal
import time

import numpy as np
import pytest

from pipeline.core.errors import EnvironmentFault
from pipeline.core.guard import ChildKilledError, Guard, Limits, Lost

QUICK = Limits(seconds=0.5, memory=300_000_000)


def work(state: list[int], item: str) -> tuple[str, int]:
    """What a decoder may do with one item."""
    if item == "spin":
        while True:
            pass
    if item == "eat":
        np.ones(200_000_000)
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(7)
    if item == "fail":
        raise ValueError("what nobody expected")
    if item == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "full disk":
        raise EnvironmentFault("the disk is full", "make room")
    state.append(1)
    return item, len(state)


def outcomes(items: list[str], limits: Limits = QUICK) -> list[object]:
    state: list[int] = []
    found: list[object] = []
    with Guard(work, state, limits) as guard:
        for outcome in guard.examine_all(items):
            if isinstance(outcome, Lost):
                found.append((outcome.item, outcome.reason))
            else:
                state.append(1)
                found.append(tuple(outcome))
    return found


def test_only_the_item_that_breaks_a_limit_is_lost() -> None:
    items = ["a", "spin", "b", "eat", "crash", "c", "exit", "fail", "d"]
    assert outcomes(items) == [
        ("a", 1),
        ("spin", "TIME_LIMIT"),
        ("b", 2),
        ("eat", "MEMORY_LIMIT"),
        ("crash", "DECODER_DIED"),
        ("c", 3),
        ("exit", "DECODER_DIED"),
        ("fail", "DECODER_DIED"),
        ("d", 4),
    ]


def test_a_process_that_is_killed_from_outside_is_not_the_files_fault() -> None:
    with pytest.raises(ChildKilledError, match="was killed"):
        outcomes(["a", "killed", "b"])


def test_time_is_the_processors_and_not_the_clocks() -> None:
    assert outcomes(["a"] * 3, Limits(seconds=0.2)) == [("a", 1), ("a", 2), ("a", 3)]
    began = time.monotonic()
    assert outcomes(["spin"], Limits(seconds=0.2)) == [("spin", "TIME_LIMIT")]
    assert time.monotonic() - began < 60


def echoed(state: object, item: object) -> object:
    return item


def test_answers_cross_as_they_are_and_one_child_answers_again_and_again() -> None:
    values = [{"bytes": b"\0\xff", "text": "\udc80\n", "rows": [1, 2.5, None, True]}, b"", {}, "x" * 200_000]
    with Guard(echoed, None, QUICK) as guard:
        assert list(guard.examine_all(values)) == values
        assert guard.examine("again") == "again"
        for first in guard.examine_all(values):  # who asks for the first alone gets no stale answers later
            assert first == values[0]
            break
        assert guard.examine(7) == 7


def test_faults_of_the_machine_arrive_as_what_they_are() -> None:
    with pytest.raises(EnvironmentFault, match="make room"):
        outcomes(["a", "full disk"])
