"""A batch of images as shards: each shard is sampled by itself, on one thread, and comes out the same anywhere."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog import decode
from pipeline.catalog.tables import GENERATED
from pipeline.core.digests import json_digest, pixel_digest
from pipeline.core.settings import BatchSettings
from pipeline.core.shards import completion, finish, is_finished, part_path, write_table

Made = tuple[NDArray[np.uint8], list[str], list[str]]  # pixels, labels, source assets
RESAMPLE = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}


@dataclass(frozen=True)
class VariedSource:
    """An asset that images vary; a label that the model does not know is replaced by what the CNN sees."""

    asset: str
    label: str
    background: tuple[int, int, int]


def source_path(folder: Path, asset: str) -> Path:
    """Where the file of a varied asset lies beside a batch's shards."""
    return folder / "sources" / asset


def batch_jobs(
    model: Path,
    weights_sha256: str,
    batch: BatchSettings,
    seed: int,
    folder: Path,
    sources: Sequence[VariedSource] = (),
    strength: float = 0.0,
    between: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """The shards of a batch as job dicts for generate_shard. `seed` is the run's, derived from the batch's.

    With `sources` (their files in folder/sources, by asset), image k is a variation of one of them, in turn; with
    `between` two image numbers, the batch is one shard that leads from one of these images to the other.
    """
    jobs = []
    shard_size = batch.count if between else batch.shard_size
    for number, first in enumerate(range(0, batch.count, shard_size)):
        job = {
            "model": str(model),
            "weights_sha256": weights_sha256,
            "seed": seed,
            "first": first,
            "count": min(shard_size, batch.count - first),
            "classes": batch.classes,
            "guidance": batch.guidance,
            "scale": batch.scale,
            "resample": batch.resample,
            "sources": [asdict(source) for source in sources],
            "strength": strength,
            "between": list(between),
        }
        jobs.append({**job, "key": json_digest(job), "out": str(part_path(folder, number))})
    return jobs


def generate_shard(job: dict[str, Any]) -> dict[str, Any]:
    """Sample one shard into its Parquet file (tables.GENERATED), unless that is done; returns its record."""
    out = Path(job["out"])
    if not is_finished(out, job["key"]):
        from pipeline.generators.classifier import look
        from pipeline.generators.sampling import load_classifier

        classifier = load_classifier(Path(job["model"]))
        indices = range(job["first"], job["first"] + job["count"])
        make = _varied if job["sources"] else _between if job["between"] else _sampled
        pixels, labels, sources = make(job, indices)
        seen = [classifier.class_names[number] if number >= 0 else "" for number in look(classifier, pixels)[1]]
        rows = [
            generated_row(index, label, recognised, source, published_pixels(image, job["scale"], job["resample"]))
            for index, label, recognised, source, image in zip(indices, labels, seen, sources, pixels, strict=True)
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


def _sampled(job: dict[str, Any], indices: range) -> Made:
    from pipeline.generators.sampling import load_model, sample

    sampled = sample(load_model(Path(job["model"])), job["seed"], indices, job["classes"], job["guidance"])
    return sampled.pixels, sampled.labels, [""] * len(indices)


def _between(job: dict[str, Any], indices: range) -> Made:
    from pipeline.generators.sampling import interpolate, labels_of, load_model

    model, (first, last) = load_model(Path(job["model"])), job["between"]
    label = int(labels_of(model, [first], job["classes"])[0])
    pixels = interpolate(model, job["seed"], (first, last), len(indices), label, job["guidance"])
    return pixels, [model.class_names[label]] * len(indices), [""] * len(indices)


def _varied(job: dict[str, Any], indices: range) -> Made:
    from pipeline.generators.classifier import look
    from pipeline.generators.sampling import load_classifier, load_model, vary

    model = load_model(Path(job["model"]))
    classifier = load_classifier(Path(job["model"]))
    sources = [VariedSource(**source) for source in job["sources"]]
    turns = [sources[k % len(sources)] for k in indices]
    files = {source.asset: (source_path(Path(job["out"]).parent, source.asset), source) for source in turns}
    size, channels = model.settings.size, model.settings.channels
    rendered = {
        asset: decode.render(path.read_bytes(), size, channels, source.background)
        for asset, (path, source) in files.items()
    }
    pictures = np.stack([rendered[source.asset] for source in turns])
    seen = look(classifier, pictures)[1].clip(min=0)  # with one class, that one
    known = {name: number for number, name in enumerate(model.class_names)}
    labels = np.array([known.get(source.label, seen[row]) for row, source in enumerate(turns)], np.int64)
    pixels = vary(model, pictures, job["strength"], job["seed"], indices, labels, job["guidance"])
    return pixels, [model.class_names[label] for label in labels], [source.asset for source in turns]


def generated_row(index: int, label: str, recognised: str, source: str, rgb: NDArray[np.uint8]) -> dict[str, Any]:
    """A row of tables.GENERATED for pixels (H, W, 3) uint8."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    image = {"pixels": pixel_digest(rgb), "image": stream.getvalue()}
    return {"index": index, "label": label, "recognised": recognised, "source": source, **image}
