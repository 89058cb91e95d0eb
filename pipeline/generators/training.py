"""The training loop. It reads top to bottom: plan, stages, steps, and at the end the proof of what was fed."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from pipeline.core.digests import canonical_json, json_digest, sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_bytes, write_json
from pipeline.generators.build import build_generator
from pipeline.generators.checkpoint import Progress, read_position, restore_checkpoint, save_checkpoint
from pipeline.generators.evaluation import evaluate, recognise
from pipeline.generators.plan import Plan, optimiser_of, plan_of, rate_at, take_turn, threads
from pipeline.generators.protocol import Generator, Stage
from pipeline.generators.record import (
    CLASSIFIER,
    RECORD,
    WEIGHTS,
    TrainedModel,
    code_version,
    is_trained,
    model_key,
    read_record,
    trained_model,
)
from pipeline.generators.sampling import Sampler, class_grid, grid_png
from pipeline.generators.training_set import TrainingSet, row_digest
from pipeline.generators.watch import TOO_MANY_COPIES, looks_at, near_copies, out_of_memory_named

__all__ = ["TrainedModel", "is_trained", "model_key", "train"]

CHECKPOINT_SECONDS = 12.0
LARGEST_LOSS = 1e4  # beyond it a training has diverged, even where its numbers are still finite
LARGEST_ENCODING = 20_000  # rows that a latent stage learns from; more would cost time and change little

Progressed = Callable[[int, int, str], None]  # steps done, steps in all, a note


@dataclass(frozen=True)
class Feeder:
    """Hands out rows of the training set, and marks and checks each one that it hands out."""

    data: TrainingSet
    fed: Tensor  # (rows,) bool, kept in checkpoints
    checked: NDArray[np.bool_]  # rows whose digest this process has recomputed

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
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1

    def all_images(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """The rows in batches of 128."""
        return (self.images(rows[start : start + 128]) for start in range(0, len(rows), 128))

    def root(self) -> str:
        """Merkle root over the assets that were fed."""
        return merkle_root(self.data.assets[row] for row in self.fed.nonzero()[:, 0].tolist())


def train(
    settings: ModelSettings, data: TrainingSet, root: str, folder: Path, progress: Progressed | None = None
) -> TrainedModel:
    """Train the model that `settings` name on `data` and write it to `folder`; resumes where a killed run stopped.

    `root` is the snapshot's Merkle root; the loop computes its own from the rows that it fed. `progress` is told
    of each line of metrics.jsonl. A resumed run gives bit for bit the weights of an undisturbed one. Raises
    ImprimaturError when the roots differ, when a row of `data` was altered, or when the training diverges.
    """
    key = model_key(root, settings, data.key)
    if is_trained(folder):
        return _finished(folder, key)
    model = build_generator(settings, len(data.class_names))
    feeder = Feeder(data, torch.zeros(len(data.labels), dtype=torch.bool), np.zeros(len(data.labels), np.bool_))
    first = feeder.images(np.arange(min(settings.batch_size, len(data.labels))))
    feeder.fed.zero_()  # looking at a batch to time the steps is not training on it
    plan = plan_of(folder, key, settings, model, first, len(data.labels))

    checkpoint = folder / "checkpoint.safetensors"
    state = Progress(model, copy.deepcopy(model).requires_grad_(False), [], feeder.fed)
    if checkpoint.exists():
        state.stage, state.step = read_position(checkpoint, key)
    log = Log(folder / "metrics.jsonl", plan, state.stage, state.step, progress)
    resumed = checkpoint.exists()
    with threads(plan.threads):
        for number in range(state.stage, len(plan.stages)):
            stage = model.stages()[number]
            state.stage, state.optimisers = number, [optimiser_of(objective) for objective in stage.objectives]
            if resumed:
                restore_checkpoint(checkpoint, state)
                resumed = False
            else:
                state.step = 0
            with out_of_memory_named(stage.batch_size):
                _run_stage(stage, plan, state, feeder, settings, checkpoint, log)
            model.load_state_dict(_averaged(state, stage), strict=False)
    if feeder.root() != root:
        raise ImprimaturError(
            f"the training fed {int(feeder.fed.sum())} images whose Merkle root is {feeder.root()}, "
            f"not the snapshot's {root}: the model is not released",
            "delete the training set's and the model's folder and run again",
        )
    return _release(settings, data, root, plan, model, log, folder)


def _finished(folder: Path, key: str) -> TrainedModel:
    if read_record(folder)["key"] != key:
        raise ImprimaturError(f"{folder}: holds another model", "choose another folder")
    return trained_model(folder)


def _run_stage(
    stage: Stage,
    plan: Plan,
    state: Progress,
    feeder: Feeder,
    settings: ModelSettings,
    checkpoint: Path,
    log: "Log",
) -> None:
    """Take the steps of one stage that are still to take; fewer when the last one begins to copy its images."""
    seed, last = settings.seed, state.stage == len(plan.stages) - 1
    steps, size, dtype = (getattr(plan.stages[state.stage], name) for name in ("steps", "batch_size", "dtype"))
    rows, encoded = np.arange(len(feeder.data.labels)), None
    if stage.examples is not None:
        rows = _permutation(len(rows), seed, "encoded")[:LARGEST_ENCODING]
        with torch.no_grad():
            encoded = stage.examples(feeder.all_images(rows))
    labels = torch.from_numpy(feeder.data.labels.copy())
    saved = time.monotonic()
    for step in range(state.step, steps):
        if last and step in looks_at(steps):
            grid = checkpoint.with_name(f"samples-{step:06d}.png")
            copied = near_copies(state.model, _averaged(state, stage), settings, feeder.data, dtype, grid)
            if copied > TOO_MANY_COPIES and bool(feeder.fed.all()):
                log.stopped = f"{copied:.0%} of the samples were near copies of training images at step {step}"
                return
        picked = _rows_of_step(len(rows), step, size, seed)
        examples = feeder.images(rows[picked]) if encoded is None else encoded[torch.from_numpy(picked)]
        batch = examples, labels[torch.from_numpy(rows[picked])]
        rate = rate_at(step, steps, stage)
        losses = {}
        for objective, optimiser in zip(stage.objectives, state.optimisers, strict=True):
            turn_seed = _seed(seed, stage.name, objective.name, step)
            losses[objective.name] = take_turn(objective, optimiser, rate, batch, turn_seed, dtype)
        if not all(abs(loss) < LARGEST_LOSS for loss in losses.values()):  # nor when it is not a number
            raise ImprimaturError(
                f"the training diverged at step {step} of stage {stage.name} ({losses}): the model is not released",
                "lower model.learning_rate, or choose another model.seed",
            )
        _average(state, stage, min(0.999, 1 - 1 / (1 + step / 10)))
        log.step(state.stage, stage.name, step, steps, losses, rate, size)
        state.step = step + 1
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, state, plan.key)
            saved = time.monotonic()


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


def _rows_of_step(rows: int, step: int, size: int, seed: int) -> NDArray[np.int64]:
    """Which rows step `step` takes: shuffled epochs laid end to end and cut into batches."""
    positions = np.arange(step * size, (step + 1) * size)
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


class Log:
    """metrics.jsonl: at most some 200 lines a stage; a resumed run first drops lines that it will write again."""

    def __init__(self, path: Path, plan: Plan, stage: int, step: int, progress: Progressed | None) -> None:
        kept = []
        if path.exists():
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if (line["stage_number"], line["step"]) < (stage, step)]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self.path, self.progress, self.lines = path, progress, kept
        self.plan, self.since, self.images = plan, time.monotonic(), 0
        self.stopped = ""  # why the training ended before its budget

    def step(
        self, number: int, stage: str, step: int, steps: int, losses: dict[str, float], rate: float, size: int
    ) -> None:
        """Take note of a step; write it when it is one of the 200 or the last."""
        self.images += size
        if step % math.ceil(steps / 200) and step != steps - 1:
            return
        now = time.monotonic()
        line = {
            "stage": stage,
            "stage_number": number,
            "step": step,
            "steps": steps,
            **losses,
            "rate": rate,
            "images_per_second": round(self.images / max(now - self.since, 1e-9), 1),
        }
        self.since, self.images = now, 0
        self.lines.append(line)
        with self.path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        if self.progress is not None:
            before = sum(planned.steps for planned in self.plan.stages[:number])
            total = sum(planned.steps for planned in self.plan.stages)
            self.progress(before + step + 1, total, stage)


def _release(
    settings: ModelSettings, data: TrainingSet, root: str, plan: Plan, model: Generator, log: Log, folder: Path
) -> TrainedModel:
    """Write weights, record and sample grid. The record comes last: with it the model is finished."""
    tensors = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if name.split(".")[0] not in model.training_only
    }
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise ImprimaturError("the training diverged: weights are not finite", "lower model.learning_rate")
    about = {
        "kind": settings.kind,
        "settings": settings.model_dump(mode="json"),
        "class_names": data.class_names,
        "root": root,
        "code": code_version(),
        "dtype": plan.dtype,
    }
    # one entry: safetensors writes several in an order that changes from run to run
    weights = save(tensors, {"imprimatur": canonical_json(about).decode()})
    write_bytes(folder / WEIGHTS, weights)
    digest = sha256(weights)
    model.eval().requires_grad_(False)
    sampler = Sampler(model, settings, data.class_names, digest, plan.dtype)
    write_bytes(folder / "samples.png", grid_png(class_grid(sampler), 8))
    classifier, held = recognise(data, settings.seed)
    write_bytes(folder / CLASSIFIER, save(classifier.state_dict()))
    evaluation = evaluate(sampler, data, classifier, held)
    if settings.kind.endswith("gan") and evaluation.collapsed:
        raise ImprimaturError(
            "the GAN collapsed: its images show no variety (recall 0): the model is not released",
            "choose another model.seed, a longer budget, or another kind; samples.png shows what it draws",
        )
    record = {
        "key": plan.key,
        "settings": settings.model_dump(mode="json"),
        "plan": asdict(plan),
        "class_names": data.class_names,
        "root": root,
        "weights_sha256": digest,
        "code": code_version(),
        "torch": torch.__version__,
        "metrics": _summary(plan, model, log) | {"evaluation": evaluation.as_dict()},
    }
    write_json(folder / RECORD, record)
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return trained_model(folder)


def _summary(plan: Plan, model: Generator, log: Log) -> dict[str, Any]:
    """What a table of models shows: sizes, work done, last losses."""
    last = {line["stage"]: line for line in log.lines}
    shown = {"stage", "stage_number", "step", "steps", "rate", "images_per_second"}
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "images_seen": sum(stage.steps * stage.batch_size for stage in plan.stages),
        "losses": {key: value for line in last.values() for key, value in line.items() if key not in shown},
        "images_per_second": {name: line["images_per_second"] for name, line in last.items()},
        "stopped_early": log.stopped,
    }
