"""A studio to test in: a workspace, a development identity, a signed snapshot and model; and pictures to stamp."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.images import Format
from pipeline.credentials.manifest import Link, OutputFacts
from pipeline.credentials.repository import record_output
from pipeline.credentials.sidecars import read_sidecar, sign_model, sign_snapshot
from pipeline.credentials.stamp import Stamped, stamp

WHEN = "2026-11-24T02:00:00.000000Z"


@dataclass(frozen=True)
class Studio:
    """What a night has at hand when it starts to stamp."""

    workspace: Workspace
    settings: CredentialSettings
    identity: Identity
    statement: Path
    weights: Path
    model: Link

    def facts(self, index: int, batch: str = "night-1") -> OutputFacts:
        return OutputFacts(
            f"{batch}-{index:06d}.png", WHEN, batch, index, seed=7, label="emblem", model="m1",
            model_sha256="ab" * 32, snapshot="s1", snapshot_root="cd" * 32, verdict="pass",
        )  # fmt: skip

    def stamped(self, index: int, batch: str = "night-1", format: Format = "png") -> Stamped:
        return stamp(picture(index), self.facts(index, batch), self.model, self.identity, self.settings, format)

    def published(self, index: int, batch: str) -> Path:
        """Stamp, write and record an output, as a night does; its file."""
        stamped, facts = self.stamped(index, batch), self.facts(index, batch)
        path = self.workspace.batch(batch) / "images" / facts.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stamped.data)
        record_output(self.workspace, stamped, facts, f"images/{facts.title}", "published")
        return path


def picture(seed: int, side: int = 64) -> NDArray[np.uint8]:
    """A coloured drawing on an uneven ground, another for each seed; (side, side, 3) uint8."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(random.integers(40, 216, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        corners = np.sort(random.integers(0, side, (2, 2)), axis=0).ravel().tolist()
        draw.ellipse(corners, fill=tuple(random.integers(20, 236, 3).tolist()))
    grain = random.normal(0, 4, (side, side, 1))
    return np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)


def encoded(rgb: NDArray[np.uint8], format: str, **options: object) -> bytes:
    """Pixels as a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, format, **options)
    return stream.getvalue()


def decoded(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def make_studio(home: Path) -> Studio:
    workspace, settings = Workspace(home), CredentialSettings()
    identity = ensure_identity(settings, workspace)
    statement, weights = home / "snapshots" / "statement.json", home / "models" / "weights.safetensors"
    for path, content in ((statement, b'{"root": "cd"}'), (weights, bytes(range(256)) * 40)):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    sign_snapshot(statement, identity, snapshot="s1", root="cd" * 32, size=3, when=WHEN)
    sign_model(weights, statement, identity, model="m1", facts={"kind": "gan"}, when=WHEN)
    return Studio(workspace, settings, identity, statement, weights, read_sidecar(weights, identity.anchors_pem))
