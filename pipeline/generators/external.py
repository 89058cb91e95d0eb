"""Anyone's own diffusion model: a local folder as `diffusers` saves it, for sampling only (extra `diffusers`).

Nothing is fetched and none of the folder's code runs: it may hold JSON, text and safetensors, and name only classes
of diffusers and transformers. That is checked here, before the library sees the folder (its own `use_safetensors` has
not reached every component, diffusers issue 11601). What such a model was trained on, this pipeline cannot know: its
images carry no snapshot.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.digests import file_sha256, json_digest
from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.generators.plan import threads
from pipeline.generators.sampling import random_of

INDEX = "model_index.json"
HARMLESS = {".json", ".safetensors", ".txt", ".model", ".md"}
LIBRARIES = {"diffusers", "transformers"}


@dataclass(frozen=True)
class ExternalModel:
    """A checked pipeline folder: the SHA-256 of every file in it, by path, and of all of them together."""

    folder: Path
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """The model's digest: it changes with any file."""
        return json_digest(self.files)


def is_external(model: str) -> bool:
    """True when `model` is the path of a diffusers folder and not a model's id."""
    return (Path(model) / INDEX).is_file()


def check_pipeline(folder: Path) -> ExternalModel:
    """Read what is in a pipeline folder. Raises ImprimaturError for anything that might run code or lie elsewhere."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    for path in paths:
        if path.is_symlink() or path.parent.is_symlink():
            raise ImprimaturError(f"{path}: is a link", "put the files themselves into the folder")
        if path.suffix.lower() not in HARMLESS:
            raise ImprimaturError(
                f"{path}: may hold code; only {', '.join(sorted(HARMLESS))} files are read",
                "save the weights as safetensors and remove all else",
            )
    try:
        components = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        named = {name: value for name, value in components.items() if not name.startswith("_")}
    except (OSError, ValueError, AttributeError) as error:
        raise ImprimaturError(f"{folder / INDEX}: cannot be read ({error})", "name a diffusers folder") from None
    for name, value in named.items():
        if isinstance(value, list) and value[0] is not None and value[0] not in LIBRARIES:
            raise ImprimaturError(
                f"{folder / INDEX}: {name} comes from {value[0]!r}, which is code of its own",
                f"use components of {' and '.join(sorted(LIBRARIES))} only",
            )
    return ExternalModel(folder, {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths})


def draw_external(
    model: ExternalModel, seed: int, indices: Sequence[int], prompts: Sequence[str], steps: int
) -> list[NDArray[np.uint8]]:
    """Image k, (H, W, 3) uint8, for each k of `indices`, one at a time on one thread: it depends on (model digest,
    seed, k) and its prompt alone. `prompts` are taken in turn; a pipeline without text takes none.

    Raises EnvironmentFault without the extra, ImprimaturError when the pipeline does not load or run.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is loaded
    try:
        from diffusers import DiffusionPipeline
    except ImportError:
        raise EnvironmentFault("diffusers is not installed", "pip install 'imprimatur[diffusers]'") from None
    try:
        pipeline = DiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
            str(model.folder), local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        pipeline.set_progress_bar_config(disable=True)
        with threads(1), torch.inference_mode():
            return [_draw_one(pipeline, random_of(model.digest, seed, k), prompts, k, steps) for k in indices]
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise ImprimaturError(
            f"{model.folder}: the pipeline fails: {error}", "try it with diffusers alone"
        ) from error


def _draw_one(
    pipeline: Any, random: torch.Generator, prompts: Sequence[str], k: int, steps: int
) -> NDArray[np.uint8]:
    prompt = {"prompt": prompts[k % len(prompts)]} if prompts else {}
    made = pipeline(**prompt, generator=random, num_inference_steps=steps, output_type="np").images[0]
    levels = np.round(np.clip(made, 0, 1) * 255).astype(np.uint8)
    return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels
