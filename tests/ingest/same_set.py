"""One small set of pictures with rights columns, written in each format that ingest reads."""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def encoded(seed: int, image_format: str = "JPEG", side: int = 48) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(stream, image_format)
    return stream.getvalue()


NOAI = {"X-Robots-Tag": ["noai"]}
# stem -> (licence, author, HTTP headers of its download); what train_generative:commercial decides on it
PICTURES: dict[str, tuple[str, str, dict[str, list[str]]]] = {
    "0001": ("https://creativecommons.org/licenses/by/4.0/", "Ada", {}),
    "0002": ("CC-BY-NC-4.0", "Bo", {}),
    "0003": ("CC0-1.0", "Cy", NOAI),
    "0004": ("", "", {}),
    "0005": ("cc-by-sa-4.0", "Di|Ed", {}),
}
DECISIONS = {
    "0001": ("allow", ["LICENCE_ALLOWS"]),
    "0002": ("deny", ["LICENCE_NONCOMMERCIAL"]),
    "0003": ("deny", ["SIGNAL_NOAI"]),
    "0004": ("deny", ["NO_LICENCE"]),
    "0005": ("review", ["LICENCE_SHARE_ALIKE"]),
}
# formats that have no place for the headers of a download
WITHOUT_HEADERS = DECISIONS | {"0003": ("allow", ["LICENCE_ALLOWS"])}


def members(with_json: bool = False) -> dict[str, bytes]:
    """The files of the set by name: pictures, header sidecars, and each picture's columns as JSON on request."""
    files: dict[str, bytes] = {}
    for seed, (stem, (licence, author, headers)) in enumerate(PICTURES.items()):
        files[f"{stem}.jpg"] = encoded(seed)
        if headers:
            files[f"{stem}.headers.json"] = json.dumps(headers).encode()
        if with_json:
            record = {"url": f"https://example.com/{stem}", "status": "success", "key": stem, "license": licence}
            record |= {"author": author, "sha256": "0" * 64, "caption": "a picture"}
            files[f"{stem}.json"] = json.dumps(record).encode()
            files[f"{stem}.txt"] = b"a picture"
    return files


def rows() -> list[dict[str, Any]]:
    return [
        {
            "file_name": f"{stem}.jpg",
            "license": licence,
            "author": author,
            "sha256": hashlib.sha256(encoded(seed)).hexdigest().upper(),
        }
        for seed, (stem, (licence, author, _)) in enumerate(PICTURES.items())
    ]


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def csv_text(separator: str = ",", names: dict[str, str] | None = None) -> str:
    columns = ["file_name", "license", "author", "sha256"]
    lines = [separator.join((names or {}).get(name, name) for name in columns)]
    return "\n".join([*lines, *(separator.join(row[name] for name in columns) for row in rows())]) + "\n"


def json_lines() -> bytes:
    return "\n".join(json.dumps(row) for row in rows()).encode()


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_images_parquet(path: Path, row_group_size: int = 2) -> Path:
    """Hugging Face's layout: a struct of bytes and path, beside columns of strings."""
    pictures = [{"bytes": encoded(seed), "path": row["file_name"]} for seed, row in enumerate(rows())]
    columns = {name: [row[name] for row in rows()] for name in ("license", "author", "sha256")}
    pq.write_table(pa.table({"image": pictures, **columns}), path, row_group_size=row_group_size)
    return path


def write_shard_table(path: Path, failed: str = "0009") -> Path:
    """img2dataset's Parquet beside a shard; one download has failed."""
    table = [
        {
            "key": stem,
            "url": f"https://example.com/{stem}",
            "status": "success",
            "error_message": None,
            "license": licence,
            "author": author,
            "sha256": "0" * 64,  # of what was downloaded, before it was encoded anew
        }
        for stem, (licence, author, _) in PICTURES.items()
    ]
    table.append(table[0] | {"key": failed, "status": "failed_to_download", "error_message": "HTTP Error 404"})
    pq.write_table(pa.Table.from_pylist(table), path)
    return path


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> Path:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
