"""From a budget in seconds to a plan of steps, and its revisions: who follows the same plan gets the same weights.

How long a step takes is measured before the first one, and again whenever a checkpoint is written: on a machine that
has become busier or idler the rest of the stage is planned anew, and the schedules, which go by the share of steps
done, go on from there. Every revision stands in plan.json, with the step it holds from, before that step is taken.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_json
from pipeline.generators.distributed import mean, world
from pipeline.generators.protocol import Generator, Objective, Stage

THREADS = 2
PLAN = "plan.json"
TOLERANCE = 0.05  # by which a stage may miss its budget before it is planned anew
PROBE_SHARE = 0.008  # of the budget, for one number format of one stage
WARM_UP = 0.03  # fraction of a stage's steps

Clock = Callable[[], float]  # seconds


@dataclass(frozen=True)
class StagePlan:
    """How one stage runs."""

    name: str
    steps: int  # as planned before the first one
    batch_size: int
    dtype: str  # bfloat16 (autocast) or float32
    of_images: bool  # whether it learns from images, and not from latents
    pace: float = 0.0  # seconds a step, as timed before the first one
    seconds: float | None = None  # its budget; None where the steps are to be exact
    revisions: tuple[tuple[int, int], ...] = ()  # from this step on: so many steps in all

    def steps_at(self, step: int) -> int:
        """How many steps this stage has, as was planned when `step` was taken."""
        return next((total for since, total in reversed(self.revisions) if since <= step), self.steps)

    @property
    def total(self) -> int:
        """How many steps this stage has, as planned last."""
        return self.revisions[-1][1] if self.revisions else self.steps


@dataclass(frozen=True)
class Plan:
    """How a training runs: everything that its weights depend on beside data, settings and code."""

    key: str  # of the model
    threads: int
    stages: tuple[StagePlan, ...]

    @property
    def dtype(self) -> str:
        """The number format of sampling: that of the first stage."""
        return self.stages[0].dtype

    def images_before(self, number: int) -> int:
        """How many images the stages before `number` take from the shuffled epochs, which are laid end to end."""
        return sum(stage.total * stage.batch_size for stage in self.stages[:number] if stage.of_images)

    def begun(self, number: int, spent: float) -> "Plan":
        """The plan when stage `number` begins, `spent` seconds into the training."""
        return self.revised(number, 0, spent, self.stages[number].pace)

    def revised(self, number: int, step: int, spent: float, pace: float) -> "Plan":
        """The plan from `step` of stage `number` on, `spent` seconds into the training, at `pace` seconds a step.

        What an earlier stage took beyond its seconds is taken off this one.
        """
        stage = self.stages[number]
        planned = stage.steps_at(step)
        if stage.seconds is None or step >= planned:
            return self
        left = sum(each.seconds or 0.0 for each in self.stages[: number + 1]) - spent
        total = max(step + round(left / pace), step, 1)
        near = abs((planned - step) * pace - left) <= TOLERANCE * stage.seconds
        if total == planned or near:
            return self
        stages = list(self.stages)
        stages[number] = replace(stage, revisions=(*stage.revisions, (step, total)))
        return replace(self, stages=tuple(stages))


def is_planned(folder: Path) -> bool:
    """Whether `folder` holds the plan of a training that has begun."""
    return (folder / PLAN).exists()


def read_plan(folder: Path, key: str) -> Plan:
    """The plan of a training that has begun. Raises ImprimaturError when it is that of another."""
    path = folder / PLAN
    stored = json.loads(path.read_text())
    if stored["key"] != key:
        raise ImprimaturError(
            f"{path}: belongs to another training (its data, settings or code differ)",
            f"delete {folder} or choose another folder",
        )
    stages = [
        StagePlan(**{**stage, "revisions": tuple((since, total) for since, total in stage["revisions"])})
        for stage in stored["stages"]
    ]
    return Plan(key, stored["threads"], tuple(stages))


def write_plan(folder: Path, plan: Plan) -> None:
    """Write it into `folder`, atomically."""
    write_json(folder / PLAN, asdict(plan))


def make_plan(
    key: str, settings: ModelSettings, model: Generator, images: Tensor,
    threads_used: int = THREADS, clock: Clock = time.perf_counter,
) -> Plan:  # fmt: skip
    """Turn seconds (or steps) into steps of each stage, by timing throw-away steps of a copy of `model`.

    The seconds are those of `clock`; with time.process_time and one thread they are CPU-seconds.
    """
    started = clock()
    scratch = copy.deepcopy(model)
    timed = []
    with threads(threads_used):
        for stage in scratch.stages():
            with torch.no_grad():
                examples = stage.examples([images]) if stage.examples else images
            timed.append(_probe(stage, examples, settings, clock))
    left = max(settings.seconds - (clock() - started), 0.0)
    stages = []
    for stage, (dtype, pace) in zip(scratch.stages(), timed, strict=True):
        limit = None if settings.steps else left * stage.share
        steps = settings.steps * stage.share if settings.steps else left * stage.share / pace
        of_images = stage.examples is None
        stages.append(StagePlan(stage.name, max(round(steps), 1), stage.batch_size, dtype, of_images, pace, limit))
    return Plan(key, threads_used, tuple(stages))


def device_of(settings: ModelSettings) -> torch.device:
    """Where the model runs: the GPU where there is one, unless settings.device says otherwise.

    Raises EnvironmentFault when a GPU is asked for and there is none.
    """
    present = torch.cuda.is_available()
    if settings.device == "cuda" and not present:
        raise EnvironmentFault("model.device: there is no GPU that torch can use", "set it to auto or cpu")
    return torch.device("cuda" if present and settings.device != "cpu" else "cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with `count` torch threads: another count sums in another order and gives other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rate_at(step: int, steps: int, stage: Stage) -> float:
    """Learning rate of a step as a fraction of its peak: warm-up, constant, a line down to stage.last_rate."""
    progress = (step + 1) / steps
    falling = (1 - progress) / (1 - stage.anneal_from)
    return min(1.0, progress / WARM_UP, max(falling, stage.last_rate))


def optimiser_of(objective: Objective) -> torch.optim.AdamW:
    """AdamW over the objective's weights; its rate is set at every step."""
    return torch.optim.AdamW(
        objective.parameters(), lr=0.0, betas=objective.betas, weight_decay=objective.weight_decay, fused=True
    )


def take_turn(
    objective: Objective,
    optimiser: torch.optim.AdamW,
    rate: float,
    batch: tuple[Tensor, Tensor],
    seed: int,
    dtype: str,
) -> float:
    """One optimiser step of one objective on (examples, labels); returns its loss. Both are means over processes."""
    device = batch[0].device
    random = torch.Generator(device).manual_seed(seed)
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        loss = objective.loss(*batch, random)
    parameters = objective.parameters()
    *gradients, loss = mean([*torch.autograd.grad(loss, parameters), loss.detach()])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    torch.nn.utils.clip_grad_norm_(parameters, objective.largest_gradient)
    for group in optimiser.param_groups:
        group["lr"] = objective.learning_rate * rate
    optimiser.step()
    return loss.item()


def _probe(stage: Stage, examples: Tensor, settings: ModelSettings, clock: Clock) -> tuple[str, float]:
    """The faster number format and its seconds a step. Exact steps are for exact weights: no probe decides there."""
    if settings.steps:
        return "float32", 0.0
    limit = PROBE_SHARE * settings.seconds
    seconds = {"float32": _seconds_a_step(stage, examples, "float32", limit, clock)}
    if stage.mixed_precision:
        seconds["bfloat16"] = _seconds_a_step(stage, examples, "bfloat16", limit, clock)
    dtype = min(seconds, key=lambda name: seconds[name])
    return dtype, seconds[dtype]


def _seconds_a_step(stage: Stage, examples: Tensor, dtype: str, limit: float, clock: Clock) -> float:
    optimisers = [optimiser_of(objective) for objective in stage.objectives]
    batch = examples.repeat(math.ceil(stage.batch_size / len(examples)), *[1] * (examples.dim() - 1))
    batch = batch[: math.ceil(stage.batch_size / world())]
    labels = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)
    taken: list[float] = []
    began = clock()
    while len(taken) < 3 or (len(taken) < 12 and clock() - began < limit):
        started = clock()
        for objective, optimiser in zip(stage.objectives, optimisers, strict=True):
            take_turn(objective, optimiser, 1e-3, (batch, labels), len(taken), dtype)
        taken.append(clock() - started)
    return median(taken[1:])  # the first step allocates
