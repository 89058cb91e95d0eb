"""A plan of steps, and its revision when the machine is slower or faster than it was when the steps were timed."""

import json
import time
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_training import interrupt_at, striped_set, tiny

from pipeline.core.errors import EnvironmentFault
from pipeline.core.merkle import merkle_root
from pipeline.generators import training
from pipeline.generators.plan import TOLERANCE, Plan, StagePlan, device_of, read_plan
from pipeline.generators.training import train


@given(step=st.integers(1, 999), spent=st.floats(1, 99), pace=st.floats(0.001, 1))
def test_a_revised_stage_ends_when_its_seconds_are_spent(step: int, spent: float, pace: float) -> None:
    plan = Plan("key", 2, (StagePlan("only", 1000, 8, "float32", True, 0.1, 100.0),))
    planned = plan.revised(0, step, spent, pace)
    revised = planned.stages[0]
    left = revised.total - step
    assert abs(spent + left * pace - 100) <= 100 * TOLERANCE + pace
    assert revised.steps_at(step) == revised.total and revised.steps_at(step - 1) == 1000


@pytest.mark.parametrize("kind", ["vae", "pixel_gan", "flow_matching"])
def test_a_budget_shorter_than_an_epoch_is_kept_and_the_training_resumes_to_the_same_weights(
    kind: str, tmp_path: Path
) -> None:
    data, settings = striped_set(count=240), tiny(kind, steps=None, seconds=0.3)
    root, epoch = merkle_root(data.assets), 240 // 8
    first = train(settings, data, root, tmp_path / "a", clock=count(0.0, 0.01).__next__)  # 0.01 seconds a step
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    totals = [stage.total for stage in read_plan(tmp_path / "a", plan["key"]).stages]
    assert totals[0] < epoch and sum(totals) * 0.01 < 0.3  # train() has compared the roots nonetheless
    for stage in plan["stages"]:
        stage["seconds"] = None  # keep to these steps
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "plan.json").write_text(json.dumps(plan))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        train(settings, data, root, tmp_path / "b", interrupt_at(sum(totals) // 2))
    assert train(settings, data, root, tmp_path / "b").weights_sha256 == first.weights_sha256


def test_exact_steps_are_never_revised() -> None:
    plan = Plan("key", 2, (StagePlan("only", 1000, 8, "float32", True),))
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
