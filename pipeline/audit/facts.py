"""What a nightly report is made of: plain values and tables, gathered by the flow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class StageRow:
    """One stage of a run: how many items went in and came out, and how long it took (seconds, wall clock)."""

    stage: str
    taken: int
    given: int
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class SnapshotFacts:
    """The dataset snapshot that the model was trained on. Digests are hex, moments RFC 3339 in UTC."""

    id: str
    root: str  # Merkle root, RFC 9162
    statement: str  # path of the signed statement, relative to the home
    public_key: str  # SHA-256 fingerprint of the key that signed it
    as_of: str
    known_at: str
    purpose: str  # "train_generative:commercial"
    policy_sha256: str
    ledger_head: str


@dataclass(frozen=True)
class ModelFacts:
    """The model; `metrics` are the rows of its metrics.jsonl, `samples` a picture of samples (PNG) or empty.

    `root` is the Merkle root that the training computed from what it was fed, as the catalog has it.
    """

    id: str
    kind: str
    weights_sha256: str
    reused: bool
    classes: tuple[str, ...] = ()
    metrics: tuple[Mapping[str, Any], ...] = ()
    samples: bytes = b""
    root: str = ""
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # images, figures, warnings; empty when not evaluated


@dataclass(frozen=True)
class HonestFacts:
    """How many real pictures were left out and judged as the batch was, and the share called near copies, 0 to 1."""

    pictures: int
    rate: float


@dataclass(frozen=True)
class SignerFacts:
    """Who signed the credentials."""

    common_name: str
    development: bool


@dataclass(frozen=True)
class NightlyReport:
    """A nightly run, whole.

    `datasets` has columns dataset, seen, accepted, rejected, duplicates; `rejected` dataset, file, reason, detail;
    `decisions`, `selection` and `batch` those of tables.DECISIONS, tables.SELECTION and batch_table.BATCH.
    `images` maps an image's index to its encoded bytes (PNG, JPEG or WebP), best without credential; `thumbnails`
    an asset to its 32x32 RGB bytes (tables.FINGERPRINTS); `explanations` a reason code to one sentence.
    Paths are relative to `home`.
    """

    job: str
    run: str
    started: str
    finished: str
    home: str
    stages: tuple[StageRow, ...]
    datasets: pd.DataFrame
    rejected: pd.DataFrame
    decisions: pd.DataFrame
    selection: pd.DataFrame
    snapshot: SnapshotFacts
    model: ModelFacts
    batch: pd.DataFrame
    honest: HonestFacts
    signer: SignerFacts
    images: Mapping[int, bytes] = field(default_factory=dict)
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)
