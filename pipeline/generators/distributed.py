"""Several processes that train one model: each takes its part of every batch, and all take the same steps.

In a single process nothing here does anything. The clock is the one thing that differs between processes, so all go
by the first one's.
"""

import torch
from torch import Tensor, distributed


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 writes the files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def of_the_first(value: float) -> float:
    """The first process's `value`, in all of them."""
    if world() == 1:
        return value
    told = torch.tensor([value], dtype=torch.float64, device=_device())
    distributed.broadcast(told, 0)
    return float(told.item())


def mean(tensors: list[Tensor]) -> list[Tensor]:
    """The mean of each tensor over the processes."""
    if world() == 1:
        return tensors
    joined = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(joined)
    parts = torch.split(joined / world(), [tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def unite(marks: Tensor) -> None:
    """Set each of `marks` (N,) bool, on the CPU, that is set in any process."""
    if world() > 1:
        counts = marks.to(device=_device(), dtype=torch.int32)
        distributed.all_reduce(counts)
        marks.copy_(counts > 0)


def _device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"
