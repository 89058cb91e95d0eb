"""The contact sheet of `dedup`: a person sees the groups, and why."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from flows.cli import app


def test_dedup_writes_a_page_that_shows_each_group_and_why(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cells = np.random.default_rng(1).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    original = Image.fromarray(cells).resize((150, 120), Image.Resampling.BICUBIC)
    for place in range(0, 100, 12):
        ImageDraw.Draw(original).ellipse(
            (place, place % 60, place + 20, place % 60 + 26), fill=(place, 200 - place, 90)
        )
    original.save(folder / "a.png")
    original.save(folder / "b & <i>.jpg", quality=70)
    original.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "c.png")
    original.crop((0, 0, 142, 114)).save(folder / "d.png")
    original.save(folder / "e.bmp.png")
    Image.fromarray(cells[::-1, ::-1, ::-1].copy()).resize((99, 99), Image.Resampling.BICUBIC).save(folder / "z.png")
    sheet = tmp_path / "sheet.html"
    done = CliRunner().invoke(app, ["dedup", str(folder), "--sheet", str(sheet), "--json"])
    assert done.exit_code == 0, done.output
    (group,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert group == {
        "group": 0, "kept": "a.png", "files": ["a.png", "b & <i>.jpg", "c.png", "d.png", "e.bmp.png"],
    }  # fmt: skip
    page = sheet.read_text()
    assert page.count("<figure") == page.count("data:image/webp;base64,") == 5
    assert "http" not in page and "<script" not in page and "z.png" not in page
    assert "b &amp; &lt;i&gt;.jpg" in page and "<i>" not in page
    assert "mirrored" in page and "of the kept picture" in page and "the same pixels" in page
