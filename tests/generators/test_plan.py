"""A plan of steps, and its revision when the machine is slower or faster than it was when the steps were timed."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_training import striped_set, tiny

from pipeline.core.errors import EnvironmentFault
from pipeline.core.merkle import merkle_root
from pipeline.generators import training
from pipeline.generators.plan import TOLERANCE, Plan, StagePlan, device_of, divided, read_plan
from pipeline.generators.training import train


@given(step=st.integers(1, 999), spent=st.floats(1, 99), pace=st.floats(0.001, 1))
def test_a_revised_stage_ends_when_its_seconds_are_spent(step: int, spent: float, pace: float) -> None:
    plan = Plan("key", 2, (StagePlan("only", 1000, 10, 8, "float32", seconds=100.0),))
    revised = plan.revised(0, step, spent, pace).stages[0]
    left = revised.total - step
    if step < 10 and left + step == revised.least:
        return  # every image is fed, whatever that takes
    assert abs(spent + left * pace - 100) <= 100 * TOLERANCE + pace
    assert revised.steps_at(step) == revised.total and revised.steps_at(step - 1) == 1000


@given(left=st.floats(0, 1e4), first=st.floats(0, 1e4), parts=st.lists(st.floats(0.1, 10), min_size=1, max_size=5))
def test_an_epoch_longer_than_its_share_is_taken_off_all_later_stages_alike(
    left: float, first: float, parts: list[float]
) -> None:
    shares = [part / sum(parts) for part in parts]
    epoch, *others = divided(left, shares, first)
    assert epoch + sum(others) == pytest.approx(left, abs=1e-6) or len(parts) == 1
    assert epoch == pytest.approx(max(left * shares[0], min(first, left)))
    for seconds, share in zip(others, shares[1:], strict=True):
        assert seconds * (1 - shares[0]) == pytest.approx((left - epoch) * share, abs=1e-6)


def test_exact_steps_are_never_revised() -> None:
    plan = Plan("key", 2, (StagePlan("only", 1000, 10, 8, "float32"),))
    assert plan.revised(0, 500, 1e6, 1e3) == plan


def test_a_training_that_is_held_up_ends_in_time_and_its_plan_gives_the_same_weights_again(tmp_path: Path) -> None:
    data, settings = striped_set(), tiny("flow_matching", steps=None, seconds=4.0)
    root = merkle_root(data.assets)
    held_up = 0.0

    def busy(done: int, total: int, note: str) -> None:
        nonlocal held_up
        time.sleep(0.03)  # each logged step: 200 of them without a revision, 6 seconds
        held_up += 0.03

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.2)
        first = train(settings, data, root, tmp_path / "a", busy)
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    stages = plan["stages"]
    assert stages[0]["revisions"][-1][1] < stages[0]["steps"]
    assert held_up < 4.5
    for stage in stages:
        stage["seconds"] = None  # keep to these steps
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "plan.json").write_text(json.dumps(plan))
    again = train(settings, data, root, tmp_path / "b")
    assert again.weights_sha256 == first.weights_sha256
    assert read_plan(tmp_path / "b", plan["key"]).stages[0].total == stages[0]["revisions"][-1][1]


def test_a_gpu_that_is_not_there_is_named() -> None:
    import torch

    if torch.cuda.is_available():
        assert device_of(tiny("vae")).type == "cuda"
    else:
        assert device_of(tiny("vae")).type == "cpu"
        with pytest.raises(EnvironmentFault, match=r"model\.device"):
            device_of(tiny("vae", device="cuda"))
