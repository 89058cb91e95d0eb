"""metrics.jsonl: what each stage's losses and rates were on the way; also for TensorBoard where that is installed."""

import importlib.util
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.shards import write_bytes
from pipeline.generators.plan import Plan

LINES = 200  # of a stage, at most
METRICS = "metrics.jsonl"

Progressed = Callable[[int, int, str], None]  # steps done, steps in all, a note


class Log:
    """Some 200 lines a stage; a resumed run first drops lines that it will write again.

    The curves go to folder/tensorboard as well where tensorboard is installed (the extra of that name).
    """

    def __init__(self, folder: Path, stage: int, step: int, progress: Progressed | None) -> None:
        self.path, self.progress = folder / METRICS, progress
        kept = []
        if self.path.exists():
            lines = [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if (line["stage_number"], line["step"]) < (stage, step)]
        write_bytes(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self.lines: list[dict[str, Any]] = kept
        self.since, self.images = time.monotonic(), 0
        self.stopped = ""  # why the training ended before its budget
        self.curves = _curves(folder / "tensorboard") if importlib.util.find_spec("tensorboard") else None

    def step(self, plan: Plan, number: int, step: int, losses: dict[str, float], rate: float) -> None:
        """Take note of a step of stage `number`; write it when it is one of the 200 or the last."""
        stage = plan.stages[number]
        self.images += stage.batch_size
        if step % math.ceil(stage.total / LINES) and step != stage.total - 1:
            return
        now = time.monotonic()
        line = {
            "stage": stage.name,
            "stage_number": number,
            "step": step,
            "steps": stage.total,
            **losses,
            "rate": rate,
            "images_per_second": round(self.images / max(now - self.since, 1e-9), 1),
        }
        self.since, self.images = now, 0
        self.lines.append(line)
        with self.path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        if self.curves is not None:
            for name, loss in losses.items():
                self.curves.add_scalar(f"{stage.name}/{name}", loss, step)
            self.curves.flush()
        if self.progress is not None:
            before = sum(planned.total for planned in plan.stages[:number])
            self.progress(before + step + 1, sum(planned.total for planned in plan.stages), stage.name)


def _curves(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
