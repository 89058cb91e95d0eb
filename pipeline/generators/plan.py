"""From a budget to a plan of steps, made once: a resumed training follows the same plan to the same weights."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_json
from pipeline.generators.protocol import Generator, Objective, Stage

THREADS = 2
PROBE_SHARE = 0.015  # of the budget, for one number format of one stage
WARM_UP = 0.03  # fraction of a stage's steps

Clock = Callable[[], float]  # seconds


@dataclass(frozen=True)
class StagePlan:
    """How one stage runs."""

    name: str
    steps: int
    batch_size: int
    dtype: str  # bfloat16 (autocast) or float32


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


def plan_of(folder: Path, key: str, settings: ModelSettings, model: Generator, images: Tensor, rows: int) -> Plan:
    """The plan in folder/plan.json, else a new one, written there.

    `images` (B, C, H, W) and `rows` are a batch and the size of the training set. Raises ImprimaturError when the
    folder's plan belongs to another training.
    """
    path = folder / "plan.json"
    if path.exists():
        stored = json.loads(path.read_text())
        if stored["key"] != key:
            raise ImprimaturError(
                f"{path}: belongs to another training (its data, settings or code differ)",
                f"delete {folder} or choose another folder",
            )
        return Plan(key, stored["threads"], tuple(StagePlan(**stage) for stage in stored["stages"]))
    plan = make_plan(key, settings, model, images, rows)
    write_json(path, asdict(plan))
    return plan


def make_plan(
    key: str, settings: ModelSettings, model: Generator, images: Tensor, rows: int,
    threads_used: int = THREADS, clock: Clock = time.perf_counter,
) -> Plan:  # fmt: skip
    """Turn seconds (or steps) into steps of each stage, by timing throw-away steps of a copy of `model`.

    The first stage always gets one whole epoch: a snapshot's root covers every image, so every image is fed. The
    seconds are those of `clock`; with time.process_time and one thread they are CPU-seconds.
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
    plans = []
    for number, (stage, (dtype, seconds)) in enumerate(zip(scratch.stages(), timed, strict=True)):
        budget = settings.steps * stage.share if settings.steps else left * stage.share / seconds
        least = math.ceil(rows / stage.batch_size) if number == 0 else 1
        plans.append(StagePlan(stage.name, max(round(budget), least), stage.batch_size, dtype))
    return Plan(key, threads_used, tuple(plans))


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
    """One optimiser step of one objective on (examples, labels); returns its loss."""
    random = torch.Generator().manual_seed(seed)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        loss = objective.loss(*batch, random)
    parameters = objective.parameters()
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
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
    batch = batch[: stage.batch_size]
    labels = torch.zeros(len(batch), dtype=torch.int64)
    taken: list[float] = []
    began = clock()
    while len(taken) < 3 or (len(taken) < 12 and clock() - began < limit):
        started = clock()
        for objective, optimiser in zip(stage.objectives, optimisers, strict=True):
            take_turn(objective, optimiser, 1e-3, (batch, labels), len(taken), dtype)
        taken.append(clock() - started)
    return median(taken[1:])  # the first step allocates
