"""Checkpoints: everything that the next step depends on, in one safetensors file, written atomically."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import write_bytes
from pipeline.generators.plan import Plan
from pipeline.generators.protocol import Generator

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Progress:
    """The state of a training between two steps."""

    model: Generator
    average: Generator  # exponential moving average of the weights
    optimisers: list[torch.optim.AdamW]  # of the current stage
    fed: Tensor  # (rows,) bool: which rows of the training set have been fed
    plan: Plan
    stage: int = 0
    step: int = 0  # of the stage: the next one to take
    seconds: float = 0.0  # that the stages have taken, without steps that a stopped run lost


def save_checkpoint(path: Path, progress: Progress) -> None:
    """Write `progress`; its plan has a file of its own."""
    tensors = {"fed": progress.fed}
    for prefix, module in (("model", progress.model), ("average", progress.average)):
        tensors |= {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}
    for number, optimiser in enumerate(progress.optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{index}.{name}": tensor for name, tensor in state.items()}
    position = {"key": progress.plan.key, "stage": str(progress.stage), "step": str(progress.step)}
    position["seconds"] = str(progress.seconds)
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}, position))


def read_position(path: Path, key: str) -> tuple[int, int, float]:
    """Stage, step and seconds of a checkpoint. Raises ImprimaturError when it is damaged or of another training."""
    with _damage_named(path), safe_open(path, "pt") as file:
        position = file.metadata() or {}
        stage, step, seconds = int(position["stage"]), int(position["step"]), float(position["seconds"])
    if position.get("key") != key:
        raise ImprimaturError(f"{path}: belongs to another training", "delete the file; training starts again")
    return stage, step, seconds


def restore_checkpoint(path: Path, progress: Progress) -> None:
    """Fill `progress`, built for the checkpoint's stage, with the checkpoint's tensors. Raises ImprimaturError."""
    with _damage_named(path):
        _restore(path, progress)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:  # RuntimeError: tensors that do not fit
        reason = str(error).splitlines()[0]
        raise ImprimaturError(f"{path}: damaged ({reason})", "delete the file; training starts again") from None


def _restore(path: Path, progress: Progress) -> None:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    progress.fed.copy_(tensors["fed"])
    progress.model.load_state_dict(_below("model.", tensors))
    progress.average.load_state_dict(_below("average.", tensors))
    for number, optimiser in enumerate(progress.optimisers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(f"optimiser.{number}.", tensors).items():
            index, field = name.split(".")
            state.setdefault(int(index), {})[field] = tensor
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
