"""The end of a training: the averaged weights judged, and released with their record; or refused."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from pipeline.core.digests import canonical_json, sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_bytes, write_json
from pipeline.generators.checkpoint import CHECKPOINT
from pipeline.generators.evaluation import evaluate, recognise
from pipeline.generators.log import Log
from pipeline.generators.plan import Plan
from pipeline.generators.protocol import Generator
from pipeline.generators.record import CLASSIFIER, RECORD, WEIGHTS, TrainedModel, code_version, trained_model
from pipeline.generators.sampling import Sampler, class_grid, grid_png
from pipeline.generators.training_set import TrainingSet


def release(
    settings: ModelSettings, data: TrainingSet, root: str, plan: Plan, model: Generator, log: Log, folder: Path
) -> TrainedModel:
    """Write weights, record and sample grid. The record comes last: with it the model is finished.

    Raises ImprimaturError, and leaves no finished model, when weights are not finite or a GAN has collapsed.
    """
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
    seen = plan.images_before(len(plan.stages))
    if seen < len(data.labels):
        evaluation.warnings.append(
            f"the budget ended within the first epoch, after {seen} of {len(data.labels)} images: the others have a "
            "part in the model by their mean only; give it longer"
        )
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
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return trained_model(folder)


def _summary(plan: Plan, model: Generator, log: Log) -> dict[str, Any]:
    """What a table of models shows: sizes, work done, last losses."""
    last = {line["stage"]: line for line in log.lines}
    shown = {"stage", "stage_number", "step", "steps", "rate", "images_per_second"}
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "images_seen": sum(stage.total * stage.batch_size for stage in plan.stages),
        "losses": {key: value for line in last.values() for key, value in line.items() if key not in shown},
        "images_per_second": {name: line["images_per_second"] for name, line in last.items()},
        "stopped_early": log.stopped,
    }
