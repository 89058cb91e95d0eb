"""The training loop. It reads top to bottom: plan, stages, steps, and at the end the proof of what was fed."""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.digests import json_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.core.settings import ModelSettings
from pipeline.generators.build import build_generator
from pipeline.generators.checkpoint import CHECKPOINT, Progress, read_position, restore_checkpoint, save_checkpoint
from pipeline.generators.distributed import of_the_first, rank, unite, world
from pipeline.generators.inception import load_inception
from pipeline.generators.log import Log, Progressed
from pipeline.generators.metrics import learnt_by_heart
from pipeline.generators.plan import (
    THREADS,
    Clock,
    Plan,
    device_of,
    is_planned,
    make_plan,
    optimiser_of,
    rate_at,
    read_plan,
    take_turn,
    threads,
    write_plan,
)
from pipeline.generators.protocol import Stage
from pipeline.generators.record import TrainedModel, is_trained, model_key, read_record, trained_model
from pipeline.generators.release import release
from pipeline.generators.training_set import TrainingSet, row_digest
from pipeline.generators.watch import looks_at, near_copies, out_of_memory_named

CHECKPOINT_SECONDS = 12.0
LARGEST_LOSS = 1e4  # beyond it a training has diverged, even where its numbers are still finite
LARGEST_ENCODING = 20_000  # rows that a latent stage learns from; more would cost time and change little


@dataclass(frozen=True)
class Feeder:
    """Hands out rows of the training set, and marks and checks each one that it hands out."""

    data: TrainingSet
    fed: Tensor  # (rows,) bool, kept in checkpoints
    checked: NDArray[np.bool_]  # rows whose digest this process has recomputed
    device: torch.device

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """float32 (N, C, H, W) in [-1, 1]. Raises ImprimaturError when a row is not what was decoded."""
        pixels = self.data.pixels[rows]
        for row, image in zip(rows, pixels, strict=True):
            if not self.checked[row] and row_digest(image) != self.data.row_digests[row]:
                raise ImprimaturError(
                    f"row {row} of the training set was altered after asset {self.data.assets[row]} was decoded",
                    "delete the training set's folder and run again",
                )
        self.checked[rows] = True
        self.fed[rows] = True
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1

    def all_images(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """The rows in batches of 128."""
        return (self.images(rows[start : start + 128]) for start in range(0, len(rows), 128))

    def mean_image(self) -> Tensor:
        """The mean (C, H, W) of all rows: with this look every image has a part in the model."""
        rows = np.arange(len(self.data.labels))
        sums = (images.double().sum(dim=0) for images in self.all_images(rows))
        return (sum(sums, torch.zeros((), dtype=torch.float64)) / len(rows)).float()

    def root(self) -> str:
        """Merkle root over the assets that were fed."""
        return merkle_root(self.data.assets[row] for row in self.fed.nonzero()[:, 0].tolist())


@dataclass
class Run:
    """One training: what it works with from its first step to its last."""

    settings: ModelSettings
    folder: Path
    feeder: Feeder
    state: Progress
    log: Log | None  # of the process that writes the files
    clock: Clock

    def now(self) -> float:
        """Seconds, the same in every process: decisions by the clock are theirs together."""
        return of_the_first(self.clock())


def train(
    settings: ModelSettings,
    data: TrainingSet,
    root: str,
    folder: Path,
    progress: Progressed | None = None,
    clock: Clock = time.perf_counter,
) -> TrainedModel:
    """Train the model that `settings` name on `data` and write it to `folder`; resumes where a killed run stopped.

    `root` is the snapshot's Merkle root; the loop computes its own from the rows that it fed. `progress` is told
    of each line of metrics.jsonl. `clock` is what settings.seconds are seconds of. A resumed run gives bit for bit
    the weights of an undisturbed one with the same plan.json. Raises ImprimaturError when the roots differ, when a
    row of `data` was altered, or when the training diverges.
    """
    key = model_key(root, settings, data.key)
    if is_trained(folder):
        return _finished(folder, key)
    run = _start(settings, data, key, folder, progress, clock)
    state, feeder = run.state, run.feeder
    resumed = state.stage, state.step
    with threads(state.plan.threads):
        for number in range(state.stage, len(state.plan.stages)):
            stage = state.model.stages()[number]
            state.stage, state.optimisers = number, [optimiser_of(objective) for objective in stage.objectives]
            if resumed[1] and number == resumed[0]:
                restore_checkpoint(folder / CHECKPOINT, state)
            else:
                state.step = 0
                _follow(state.plan.begun(number, state.seconds), run)
            with out_of_memory_named(stage.batch_size):
                _run_stage(stage, run)
            state.model.load_state_dict(_averaged(state, stage), strict=False)
    unite(feeder.fed)
    if feeder.root() != root:
        raise ImprimaturError(
            f"the training fed {int(feeder.fed.sum())} images whose Merkle root is {feeder.root()}, "
            f"not the snapshot's {root}: the model is not released",
            "delete the training set's and the model's folder and run again",
        )
    if run.log is not None:
        release(settings, data, root, state.plan, state.model, run.log, folder)
    of_the_first(0.0)  # the others wait for it
    return trained_model(folder)


def _finished(folder: Path, key: str) -> TrainedModel:
    if read_record(folder)["key"] != key:
        raise ImprimaturError(f"{folder}: holds another model", "choose another folder")
    return trained_model(folder)


def _start(
    settings: ModelSettings, data: TrainingSet, key: str, folder: Path, progress: Progressed | None, clock: Clock
) -> Run:
    """The model, its plan, and where a stopped run left it."""
    if settings.inception is not None:
        load_inception(settings.inception)  # a wrong file is named now, and not after the training
    device, rows = device_of(settings), len(data.labels)
    model = build_generator(settings, len(data.class_names)).to(device)
    feeder = Feeder(data, torch.zeros(rows, dtype=torch.bool), np.zeros(rows, np.bool_), device)
    resumed, began = (folder / CHECKPOINT).exists(), of_the_first(clock())
    if not resumed:
        model.start_from(feeder.mean_image())
    looked = of_the_first(clock()) - began
    if of_the_first(float(is_planned(folder))):
        plan = read_plan(folder, key)
    else:
        first = feeder.images(np.arange(min(settings.batch_size, rows)))
        count = max(1, THREADS // world())
        plan = make_plan(key, settings, model, first, count, lambda: of_the_first(clock()))
        if rank() == 0:
            write_plan(folder, plan)
    state = Progress(model, copy.deepcopy(model).requires_grad_(False), [], feeder.fed, plan, seconds=looked)
    if resumed:
        state.stage, state.step, state.seconds = read_position(folder / CHECKPOINT, key)
    log = Log(folder, state.stage, state.step, progress) if rank() == 0 else None
    return Run(settings, folder, feeder, state, log, clock)


def _run_stage(stage: Stage, run: Run) -> None:
    """Take the steps of one stage that are still to take; fewer when the last one begins to copy its images."""
    state, feeder, seed = run.state, run.feeder, run.settings.seed
    planned = state.plan.stages[state.stage]
    rows, encoded, saved = np.arange(len(feeder.data.labels)), None, run.now()
    if stage.examples is not None:
        rows = _permutation(len(rows), seed, "encoded")[:LARGEST_ENCODING]
        with torch.no_grad():
            encoded = stage.examples(feeder.all_images(rows))
        saved = _spent(run, saved)
    before = 0 if encoded is not None else state.plan.images_before(state.stage)
    labels = torch.from_numpy(feeder.data.labels.copy())
    since = state.step
    while state.step < (steps := state.plan.stages[state.stage].steps_at(state.step)):
        step = state.step
        if _copies(stage, run, steps):
            return
        start, size = before + step * planned.batch_size, planned.batch_size
        picked = _rows_from(start, size, len(rows), seed)[rank() :: world()]
        examples = feeder.images(rows[picked]) if encoded is None else encoded[torch.from_numpy(picked)]
        batch = examples, labels[torch.from_numpy(rows[picked])].to(feeder.device)
        rate = rate_at(step, steps, stage)
        losses = {}
        for objective, optimiser in zip(stage.objectives, state.optimisers, strict=True):
            turn_seed = _seed(seed, stage.name, objective.name, step, rank())
            losses[objective.name] = take_turn(objective, optimiser, rate, batch, turn_seed, planned.dtype)
        if not all(abs(loss) < LARGEST_LOSS for loss in losses.values()):  # nor when it is not a number
            raise ImprimaturError(
                f"the training diverged at step {step} of stage {stage.name} ({losses}): the model is not released",
                "lower model.learning_rate, or choose another model.seed",
            )
        _average(state, stage, min(0.999, 1 - 1 / (1 + step / 10)))
        if run.log is not None:
            run.log.step(state.plan, state.stage, step, losses, rate)
        state.step = step + 1
        if run.now() - saved > CHECKPOINT_SECONDS:
            saved = _keep(run, saved, since)
            since = state.step
    _spent(run, saved)


def _copies(stage: Stage, run: Run, steps: int) -> bool:
    """Whether the last stage, looked at before its next step, draws so many near copies that it must end."""
    state, data = run.state, run.feeder.data
    if state.stage < len(state.plan.stages) - 1 or state.step not in looks_at(steps):
        return False
    unite(run.feeder.fed)
    many = False
    if run.log is not None:
        grid = run.folder / f"samples-{state.step:06d}.png"
        copied = near_copies(state.model, _averaged(state, stage), run.settings, data, state.plan.dtype, grid)
        many = learnt_by_heart(copied)
        if many:
            said = f"{copied.value:.0%} of the samples were near copies of training images at step {state.step}"
            run.log.stopped = said
    return bool(of_the_first(float(many)))


def _spent(run: Run, since: float) -> float:
    """Count the seconds `since` then towards the budget; the time now."""
    now = run.now()
    run.state.seconds += now - since
    return now


def _keep(run: Run, saved: float, since: int) -> float:
    """Write a checkpoint, and before it the plan, anew if the steps `since` took longer or less long than planned."""
    state = run.state
    now = _spent(run, saved)
    plan = state.plan.revised(state.stage, state.step, state.seconds, (now - saved) / (state.step - since))
    unite(run.feeder.fed)
    _follow(plan, run)
    if rank() == 0:
        save_checkpoint(run.folder / CHECKPOINT, state)
    return now


def _follow(plan: Plan, run: Run) -> None:
    """Go by `plan` from here on; it is written before its next step is taken."""
    if rank() == 0 and plan != run.state.plan:
        write_plan(run.folder, plan)
    run.state.plan = plan


def _averaged(state: Progress, stage: Stage) -> dict[str, Tensor]:
    """The averaged weights that `stage` moves, by their full names."""
    moved = {id(parameter) for objective in stage.objectives for parameter in objective.parameters()}
    averages = dict(state.average.named_parameters())
    return {name: averages[name] for name, parameter in state.model.named_parameters() if id(parameter) in moved}


@torch.no_grad()
def _average(state: Progress, stage: Stage, decay: float) -> None:
    """Ramped exponential moving average of the weights that this stage moves."""
    moved = {id(parameter) for objective in stage.objectives for parameter in objective.parameters()}
    for parameter, average in zip(state.model.parameters(), state.average.parameters(), strict=True):
        if id(parameter) in moved:
            average.lerp_(parameter, 1 - decay)


def _rows_from(start: int, size: int, rows: int, seed: int) -> NDArray[np.int64]:
    """The `size` rows from place `start` of the shuffled epochs, which are laid end to end."""
    positions = np.arange(start, start + size)
    epochs = positions // rows
    picked = np.empty(size, np.int64)
    for epoch in np.unique(epochs):
        picked[epochs == epoch] = _permutation(rows, seed, int(epoch))[positions[epochs == epoch] % rows]
    return picked


def _permutation(rows: int, seed: int, name: int | str) -> NDArray[np.int64]:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(_seed(seed, "order", name))).numpy()


def _seed(*parts: int | str) -> int:
    """63 bits that depend on every part."""
    return int(json_digest(list(parts))[:16], 16) >> 1
