"""A batch of images as shards: each shard is sampled by itself, on one thread, and comes out the same anywhere."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog.tables import GENERATED
from pipeline.core.digests import json_digest, pixel_digest
from pipeline.core.settings import BatchSettings
from pipeline.core.shards import completion, finish, is_finished, part_path, write_table

RESAMPLE = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}


def batch_jobs(
    model: Path, weights_sha256: str, batch: BatchSettings, seed: int, folder: Path
) -> list[dict[str, Any]]:
    """The shards of a batch as job dicts for generate_shard. `seed` is the run's, derived from the batch's."""
    jobs = []
    for number, first in enumerate(range(0, batch.count, batch.shard_size)):
        job = {
            "model": str(model),
            "weights_sha256": weights_sha256,
            "seed": seed,
            "first": first,
            "count": min(batch.shard_size, batch.count - first),
            "classes": batch.classes,
            "guidance": batch.guidance,
            "scale": batch.scale,
            "resample": batch.resample,
        }
        jobs.append({**job, "key": json_digest(job), "out": str(part_path(folder, number))})
    return jobs


def generate_shard(job: dict[str, Any]) -> dict[str, Any]:
    """Sample one shard into its Parquet file (tables.GENERATED), unless that is done; returns its record."""
    out = Path(job["out"])
    if not is_finished(out, job["key"]):
        from pipeline.generators.sampling import load_model, sample

        indices = range(job["first"], job["first"] + job["count"])
        sampled = sample(load_model(Path(job["model"])), job["seed"], indices, job["classes"], job["guidance"])
        rows = [
            _row(index, label, published_pixels(pixels, job["scale"], job["resample"]))
            for index, label, pixels in zip(indices, sampled.labels, sampled.pixels, strict=True)
        ]
        write_table(out, pd.DataFrame(rows, columns=GENERATED.names), GENERATED)
        finish(out, job["key"], images=len(rows))
    return completion(out)


def published_pixels(pixels: NDArray[np.uint8], scale: int, resample: str) -> NDArray[np.uint8]:
    """A sampled image (H, W, 1|3) uint8 as it is published: RGB, enlarged by a whole number."""
    height, width, _ = pixels.shape
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    if scale == 1:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width * scale, height * scale), RESAMPLE[resample]))


def _row(index: int, label: str, rgb: NDArray[np.uint8]) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    return {"index": index, "label": label, "pixels": pixel_digest(rgb), "image": stream.getvalue()}
