"""The contact sheet of a search for copies: each group's kept picture, its copies, and why they are."""

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.audit.report import environment
from pipeline.catalog.decode import decode
from pipeline.core.shards import write_bytes
from pipeline.similarity.fingerprints import hash_words
from pipeline.similarity.groups import Copies, Prints

GROUPS_SHOWN = 400
_SIDE = 160  # pixels of a preview
_TURNS = (
    "in the same position", "a quarter turn to the left", "upside down", "a quarter turn to the right",
    "mirrored", "mirrored, then a quarter turn to the left", "mirrored upside down",
    "mirrored, then a quarter turn to the right",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A picture of the sheet."""

    file: str
    picture: str  # data URI
    because: tuple[str, ...]


def write_sheet(
    path: Path, source: str, files: Sequence[str], prints: Prints, copies: Copies, read: Callable[[int], bytes]
) -> Path:
    """Write a self-contained HTML page. `read` gives the bytes of the file at a row."""
    groups: dict[int, list[int]] = {}
    for row, kept in enumerate(copies.kept.tolist()):
        if row != kept:
            groups.setdefault(kept, []).append(row)
    shown = [
        [Shown(files[kept], _preview(read(kept)), ("kept",))]
        + [Shown(files[row], _preview(read(row)), reasons(prints, copies, row)) for row in rows]
        for kept, rows in sorted(groups.items())[:GROUPS_SHOWN]
    ]
    page = environment("pipeline.audit").get_template("sheet.html").render(
        source=source, seen=len(files), groups=shown, count=len(groups)
    )  # fmt: skip
    return write_bytes(path, page.encode())


def reasons(prints: Prints, copies: Copies, row: int) -> tuple[str, ...]:
    """Why a picture counts as a copy of the kept one, each in a few words."""
    kept = int(copies.kept[row])
    if prints.pixels[row] == prints.pixels[kept]:
        return ("the same pixels",)
    one, other = hash_words([prints.phash[row], prints.phash[kept]])
    _, _, height, width = copies.window[row].tolist()
    found = [_TURNS[int(copies.turn[row])]]
    if height < 1 or width < 1:
        share = f"{math.floor(100 * width)} % of the width and {math.floor(100 * height)} % of the height"
        found.append(f"the kept picture is {share} of it" if copies.larger[row] else f"{share} of the kept picture")
    found.append(f"largest local difference {copies.difference[row]:.1f} of 255 levels")
    found.append(f"hashes differ in {int(np.bitwise_count(one ^ other).sum())} of 256 bits as they lie")
    return tuple(found)


def _preview(data: bytes) -> str:
    """A WebP data URI of an asset's picture, upright."""
    image = Image.fromarray(decode(data, arrays=True).rgb())
    image.thumbnail((_SIDE, _SIDE))
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()
