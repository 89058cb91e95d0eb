"""Training in several processes: `model.processes` of them, started by torchrun (gloo on CPUs, NCCL on GPUs).

The processes read a job file beside the model, and the first one answers on its standard output, a JSON line for each
step that is logged.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.settings import ModelSettings
from pipeline.core.shards import write_json
from pipeline.generators.distributed import rank
from pipeline.generators.log import Progressed
from pipeline.generators.plan import device_of
from pipeline.generators.record import TrainedModel, is_trained, trained_model
from pipeline.generators.training import train
from pipeline.generators.training_set import TrainingSet, open_training_set

FAILURES = {"ImprimaturError": ImprimaturError, "EnvironmentFault": EnvironmentFault}


def train_in_processes(
    settings: ModelSettings, data_folder: Path, data: TrainingSet, root: str, folder: Path, progress: Progressed
) -> TrainedModel:
    """As training.train, by settings.processes processes, for the training set `data` in `data_folder`."""
    job = {"settings": settings.model_dump(mode="json"), "data": str(data_folder), "key": data.key, "root": root}
    path = write_json(folder / "job.json", {**job, "folder": str(folder)})
    count = ["--standalone", "--nproc-per-node", str(settings.processes)]
    command = [sys.executable, "-m", "torch.distributed.run", *count, "-m", __name__, str(path)]
    told = folder / "torchrun.log"
    failure = None
    with (
        told.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        for line in process.stdout or ():
            answer = json.loads(line)
            if isinstance(answer, list):
                progress(*answer)
            else:
                failure = answer
    if failure is not None:
        raise FAILURES[failure["kind"]](failure["message"], failure["fix"])
    if process.returncode and not is_trained(folder):  # gloo aborts now and then in a process whose work is done
        raise EnvironmentFault(f"torchrun ended with status {process.returncode}", f"read {told}")
    return trained_model(folder)


def _run(path: Path) -> int:
    """One of the processes: join the others, train, and answer if it is the first."""
    job = json.loads(path.read_text())
    settings = ModelSettings.model_validate(job["settings"])
    device = device_of(settings)
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        data = open_training_set(Path(job["data"]), job["key"])
        train(settings, data, job["root"], Path(job["folder"]), lambda *at: _answer(list(at)))
    except ImprimaturError as error:
        kind = type(error).__name__
        _answer({"kind": kind if kind in FAILURES else "ImprimaturError", "message": error.message, "fix": error.fix})
        return error.exit_code
    finally:
        distributed.destroy_process_group()
    return 0


def _answer(value: Any) -> None:
    if rank() == 0:
        print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1])))
