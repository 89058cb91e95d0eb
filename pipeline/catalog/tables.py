"""The tables that rooms meet through: bulk facts as immutable Parquet, live facts as database rows."""

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

STRINGS = pa.list_(pa.string())
HASH_BYTES = 32  # a 256-bit perceptual hash
THUMBNAIL_SIDE = 32  # thumbnails are 32x32 RGB
THUMBNAIL_BYTES = THUMBNAIL_SIDE * THUMBNAIL_SIDE * 3

INVENTORY = pa.schema(
    [
        ("file", pa.string()),  # path as the source names it
        ("status", pa.string()),  # accepted | rejected
        ("reason", pa.string()),  # reason code when rejected, else ""
        ("detail", pa.string()),  # what was found, in words
        ("asset", pa.string()),  # sha256 of the bytes when accepted, else ""
        ("sha256", pa.string()),  # of the bytes when they could be read, else ""
        ("pixels", pa.string()),  # pixel digest (decoded, oriented, sRGB) when accepted, else ""
        ("duplicate_of", pa.string()),  # the first file of the dataset with the same bytes, else ""
        ("key", pa.string()),  # the mapped key column, else the file name without its extension
        ("label", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),  # Pillow's name: JPEG, PNG, ... or PPM for arrays
        ("mode", pa.string()),
        ("bytes", pa.int64()),
        ("licence", pa.string()),  # as written for this file, uninterpreted
        ("holders", STRINGS),
        ("source_url", pa.string()),
        ("attribution", pa.string()),
        ("depicts", STRINGS),
        ("derived_from", STRINGS),
        ("collected_at", pa.string()),
        ("signals", pa.string()),  # JSON: metadata facts as found, see ingest/signals.py
        ("store", pa.string()),  # where the bytes lie: relative to the dataset's folder, or an absolute path
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)

FINGERPRINTS = pa.schema(  # one row per accepted asset
    [
        ("asset", pa.string()),
        ("phash", pa.binary(HASH_BYTES)),  # imagehash.phash(hash_size=16), bits in reading order
        ("flatness", pa.float32()),  # standard deviation of the grey thumbnail, in levels
        ("thumbnail", pa.binary(THUMBNAIL_BYTES)),  # 32x32 RGB uint8, box-filtered
        ("method", pa.string()),  # how the hash was made: similarity.fingerprints.HASH_METHOD
    ]
)

DECISIONS = pa.schema(
    [
        ("dataset", pa.string()),
        ("file", pa.string()),
        ("asset", pa.string()),
        ("decision", pa.string()),  # allow | review | deny
        ("reasons", STRINGS),
        ("evidence", STRINGS),
        ("licence", pa.string()),  # normalised SPDX expression that was judged, else ""
        ("obligations", STRINGS),
        ("holders", STRINGS),
        ("attribution", pa.string()),
    ]
)

SELECTION = pa.schema(  # one row per accepted asset: what went into a snapshot, and why the others did not
    [
        ("asset", pa.string()),
        ("dataset", pa.string()),
        ("file", pa.string()),
        ("label", pa.string()),
        ("decision", pa.string()),  # worst over the asset's files
        ("selected", pa.bool_()),
        ("reason", pa.string()),  # "" when selected, else why not
        ("group", pa.int64()),  # near-duplicate group, -1 when alone
        ("pixels", pa.string()),
        ("store", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("licence", pa.string()),
        ("holders", STRINGS),
        ("attribution", pa.string()),
    ]
)

GENERATED = pa.schema(
    [
        ("index", pa.int64()),  # k
        ("label", pa.string()),  # the class that was asked for
        ("recognised", pa.string()),  # the class that the recognition CNN sees, "" when it knows none
        ("source", pa.string()),  # asset that the image is a variation of, "" when of none
        ("pixels", pa.string()),  # pixel digest of the image as published but for watermark
        ("image", pa.binary()),  # PNG, RGB
    ]
)

NEAREST = pa.list_(pa.struct([("asset", pa.string()), ("distance", pa.float32())]))

VERDICTS = pa.schema(
    [
        ("index", pa.int64()),
        ("verdict", pa.string()),  # pass | quarantine | stopped (on a safety hash list: not copied, not shown)
        ("reasons", STRINGS),
        ("phash", pa.binary(HASH_BYTES)),
        ("flatness", pa.float32()),
        ("thumbnail", pa.binary(THUMBNAIL_BYTES)),
        ("nearest", NEAREST),  # nearest known assets, best first; similarity, not causal influence
    ]
)

STAMPED = pa.schema(
    [
        ("index", pa.int64()),
        ("output", pa.string()),  # unique id (UUID) of the output
        ("state", pa.string()),  # published | quarantined
        ("reasons", STRINGS),
        ("file", pa.string()),  # relative to the batch folder
        ("file_sha256", pa.string()),
        ("pixels", pa.string()),  # pixel digest of the file as it lies there
        ("validation_state", pa.string()),  # Trusted | Valid | Invalid | ""
        ("watermark", pa.string()),  # payload as hex, "" when none could be read back
        ("psnr", pa.float32()),  # dB, watermarked against unmarked
        ("phash", pa.binary()),  # of the file as it lies there; null when it was not stamped
        ("thumbnail", pa.binary()),  # as in FINGERPRINTS, of the file as it lies there; null when it was not stamped
        ("manifest", pa.string()),  # label of the active manifest
        ("stamped_at", pa.string()),
    ]
)

SUBJECT_KEY = 255  # characters; PostgreSQL indexes no longer text

metadata = MetaData()

consent_events = Table(
    "consent_events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("recorded_at", String(32), nullable=False),
    Column("effective_from", String(32), nullable=False),
    Column("effective_until", String(32), nullable=False, default=""),
    Column("actor", Text, nullable=False, default=""),
    Column("subject_type", Text, nullable=False),  # asset | holder | person | dataset
    Column("subject_id", Text, nullable=False),
    Column("subject_key", String(SUBJECT_KEY), nullable=False, index=True),  # for look-ups; follows from subject_id
    Column("action", Text, nullable=False),  # grant | restrict | withdraw | expire | unreadable
    Column("uses", Text, nullable=False, default="*"),
    Column("commercial", Text, nullable=False, default="any"),
    Column("territory", Text, nullable=False, default="*"),
    Column("overrides_signals", Text, nullable=False, default="no"),
    Column("evidence", Text, nullable=False, default=""),
    Column("note", Text, nullable=False, default=""),
    Column("prev", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)

datasets = Table(
    "datasets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("source", Text, nullable=False),
    Column("licence", Text, nullable=False, default=""),
    Column("seen", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("inventory_sha256", String(64), nullable=False),
    Column("ingested_at", String(32), nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("root", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("as_of", String(32), nullable=False),
    Column("known_at", String(32), nullable=False),
    Column("policy_sha256", String(64), nullable=False),
    Column("ledger_head", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("snapshot", String(64), nullable=False),
    Column("root", String(64), nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("trained_at", String(32), nullable=False),
    Column("base", String(64), nullable=False, default=""),  # the model that it was fine-tuned from
)

recalls = Table(  # what withdrawals did to outputs, and what later grants undid; only ever added to
    "recalls",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("output", String(64), nullable=False, index=True),
    Column("action", Text, nullable=False),  # recall | restore | quarantine
    Column("state", Text, nullable=False),  # affected | affected-strong | clear
    Column("because", Text, nullable=False),  # JSON: the assets
    Column("at", String(32), nullable=False),
)

remedies = Table(  # what was done about an affected model; only ever added to
    "remedies",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("model", String(64), nullable=False, index=True),
    Column("remedy", Text, nullable=False),  # none | filtered | retrained | deleted | unsupported
    Column("actor", Text, nullable=False, default=""),
    Column("evidence", Text, nullable=False, default=""),
    Column("note", Text, nullable=False, default=""),
    Column("at", String(32), nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(96), primary_key=True),  # <job name>-<number>
    Column("job", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("config_sha256", String(64), nullable=False),
    Column("as_of", String(32), nullable=False),  # the run's moment; a resumed run keeps it
    Column("state", Text, nullable=False),  # running | done | abandoned
    Column("snapshot", String(64), nullable=False, default=""),
    Column("model", String(64), nullable=False, default=""),
    Column("finished_at", String(32), nullable=False, default=""),
    UniqueConstraint("job", "number"),
)

outputs = Table(
    "outputs",
    metadata,
    Column("output", String(64), primary_key=True),
    Column("batch", String(96), nullable=False),
    Column("index", Integer, nullable=False),
    Column("model", String(64), nullable=False),
    Column("snapshot", String(64), nullable=False),
    Column("file", Text, nullable=False),  # relative to the batch folder, or as stamped by hand
    Column("file_sha256", String(64), nullable=False, index=True),
    Column("pixels", String(64), nullable=False),
    Column("watermark", String(64), nullable=False, index=True),
    Column("phash", LargeBinary, nullable=False),
    Column("manifest", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),  # published | quarantined | recalled
    Column("stamped_at", String(32), nullable=False),
)

output_thumbnails = Table(  # what a recovered file is compared with: the output's own file may be gone
    "output_thumbnails",
    metadata,
    Column("output", String(64), primary_key=True),
    Column("thumbnail", LargeBinary, nullable=False),  # THUMBNAIL_BYTES
)

output_hash_keys = Table(  # the index of outputs by perceptual hash, see hash_index.py
    "output_hash_keys",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("output", String(64), primary_key=True),
    Index("output_hash_keys_output", "output"),
    sqlite_with_rowid=False,
)
