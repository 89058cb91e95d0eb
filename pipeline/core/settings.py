"""Configuration: one YAML file a job, read into typed settings. Unknown keys are errors, with a did-you-mean."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.core.errors import ImprimaturError


def _slug(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", value):
        raise ValueError(
            "use lower-case letters, digits, '.', '_' and '-' (64 at most), starting with a letter or digit"
        )
    return value


Slug = Annotated[str, AfterValidator(_slug)]
Use = Literal["train_generative", "train_other", "generate_input"]


class Settings(BaseModel):
    """Base of every settings block: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SomeSettings = TypeVar("SomeSettings", bound=Settings)


class ConsentFile(Settings):
    """A table of consent events. `columns` maps our field names to the table's, `values` gives constants."""

    file: str
    columns: dict[str, str] = {}
    values: dict[str, str] = {}
    # reference: the subject is written as DESIGN says (sha256, dataset:key, key); file: it is a file path,
    # and means the asset of this dataset whose key is the path's name without its extension
    subject: Literal["reference", "file"] = "reference"


class DatasetSettings(Settings):
    """One licensed dataset: where it lies, how its table reads, what its licence is."""

    name: Slug
    source: str  # a path (also below IMPRIMATUR_MIRROR) or an fsspec URL
    sha256: str | None = None  # required for a URL; of the file, or of its content where the file is a .gz
    labels: str | None = None  # IDX only: the label file
    labels_sha256: str | None = None
    table: str | None = None  # CSV, JSONL or Parquet below the source; metadata.csv|jsonl|parquet when present
    columns: dict[str, str] = {}  # our column -> theirs: file, licence, holder_id, key, label, ...
    values: dict[str, str] = {}  # our column -> a constant for every file
    licence: str | None = None  # the dataset's own licence
    class_names: list[str] = []  # IDX only: names of label 0, 1, ...
    consent: list[ConsentFile] = []
    store: Literal["copy", "reference"] = "copy"
    background: tuple[int, int, int] = (255, 255, 255)  # what shows through transparent pixels

    @model_validator(mode="after")
    def _pinned(self) -> "DatasetSettings":
        if "://" in self.source and not self.source.startswith("file://") and not self.sha256:
            raise ValueError("a URL needs the sha256 of what it must deliver")
        return self


class ModelSettings(Settings):
    """What is trained, on which image shape, and for how long (seconds, or steps when they must be exact)."""

    kind: Literal["vae", "gan", "pixel_gan", "flow_matching"] = "vae"
    size: int = Field(64, ge=16, le=256, multiple_of=4)
    channels: Literal[1, 3] = 3
    seconds: float = Field(100.0, gt=0)
    steps: int | None = Field(None, gt=0)
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(2e-3, gt=0)
    width: int = Field(32, ge=8)
    seed: int = 0
    solver: Literal["euler", "midpoint"] = "euler"  # how flows are integrated; midpoint takes twice as long
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    processes: int = Field(1, ge=1)  # that train together, a GPU each where there are some; they share a batch
    inception: Path | None = None  # weights (safetensors) of the network whose features published distances use


class VariationSettings(Settings):
    """The batch varies given pictures: image k varies asset k, in turn, of those licensed as generator input."""

    dataset: Slug
    strength: float = Field(0.4, gt=0, le=1)  # near 0 the picture itself, 1 another one of its class
    classes: list[str] = []  # only assets with these labels


class BatchSettings(Settings):
    """What is generated each night. Image k depends only on the model's digest, the seed and k."""

    count: int = Field(120, ge=1)
    seed: int = 0
    guidance: float = Field(1.5, ge=1.0)
    classes: list[str] | dict[str, float] = []  # in turn (empty: every class), or each with its share
    variations: VariationSettings | None = None
    scale: int = Field(1, ge=1, le=8)  # whole-number enlargement of small images before they are stamped
    resample: Literal["lanczos", "nearest"] = "lanczos"  # how they are enlarged; nearest keeps pixel art crisp
    format: Literal["png", "jpeg", "webp", "avif", "tiff", "gif"] = "png"
    shard_size: int = Field(64, ge=1, le=2048)


class DuplicateSettings(Settings):
    """When two pictures count as the same: phash-256 distance, confirmed by an aligned look at the pixels."""

    distance: int = Field(40, ge=0, le=80)
    pixel_difference: float = Field(16.0, ge=0)  # largest local difference of 32x32 thumbnails, in levels


class ScreeningSettings(Settings):
    """The gate on outputs."""

    false_alarm_rate: float = Field(0.01, gt=0, lt=0.5)  # near-copy threshold, calibrated on real held-out images
    minimum_deviation: float = Field(4.0, ge=0)  # standard deviation in grey levels; below it the image is blank
    hash_lists: list[Path] = []  # safety hash lists (threatexchange's local files): assets and outputs are looked up


class HttpSigner(Settings):
    """A key in a service that takes Google Cloud KMS's `asymmetricSign` request."""

    kind: Literal["http"]
    url: str  # .../cryptoKeyVersions/1:asymmetricSign
    token_file: Path | None = None  # bearer token, mode 0600; read again for each signature, for tokens that change
    timeout: float = Field(10.0, gt=0)  # seconds


class Pkcs11Signer(Settings):
    """A key in a hardware token (PKCS#11); needs the extra `pkcs11`."""

    kind: Literal["pkcs11"]
    module: Path  # the token maker's library, as /usr/lib/softhsm/libsofthsm2.so
    token: str  # label
    key: str  # label of the private key
    pin_file: Path  # mode 0600


class PythonSigner(Settings):
    """A function of one's own: bytes to sign -> signature."""

    kind: Literal["python"]
    function: str = Field(pattern=r"^[\w.]+:\w+$")  # package.module:name


RemoteKey = HttpSigner | Pkcs11Signer | PythonSigner


class CredentialSettings(Settings):
    """Who signs, and what the credential says. Without a certificate: a development identity."""

    provider: str = "Imprimatur development studio"
    system: str = "imprimatur"
    publish: Literal["development", "production"] = "development"
    certificate: Path | None = None  # PEM chain, end entity first
    private_key: Path | None = None  # PEM, PKCS#8, mode 0600
    signer: Annotated[RemoteKey | None, Field(discriminator="kind")] = None  # or where else the key is
    anchors: Path | None = None  # PEM trust anchors: of the certificate, of retired ones, of the TSA
    algorithm: Literal["es256", "es384", "ps256", "ed25519"] = "es256"
    timestamp_url: str | None = Field(None, pattern=r"^https?://")  # RFC 3161 time-stamping authority (TSA)
    training_mining: Literal["notAllowed", "allowed"] = "notAllowed"
    notice: str = Field("", max_length=300)  # a limit of use that every credential states
    placement: Literal["embedded", "sidecar"] = "embedded"  # in the file, or as <name>.c2pa beside it
    chain: Literal["embedded", "linked"] = "embedded"  # the model's credential: carried, or named by digest and URL
    chain_url: str | None = None  # linked: the credential of model ID is published at <chain_url>/ID.c2pa

    @model_validator(mode="after")
    def _complete(self) -> "CredentialSettings":
        keys = (self.private_key is not None) + (self.signer is not None)
        if keys != (self.certificate is not None):
            raise ValueError(
                "a certificate and its key belong together: give certificate and either private_key or signer"
            )
        if self.certificate is not None and self.anchors is None:
            raise ValueError("anchors: name the PEM file of the root that the certificate chains up to")
        if self.chain == "linked" and not (self.chain_url or "").startswith(("https://", "http://")):
            raise ValueError("chain_url: give the URL below which the credentials of models are published")
        return self


class WorkSettings(Settings):
    """How shards are worked on."""

    backend: Literal["processes", "serial", "ray", "dask"] = "processes"
    workers: int = Field(2, ge=1)
    address: str | None = None
    shard_size: int = Field(512, ge=16, le=4096)


class ScheduleSettings(Settings):
    """When the nightly run starts."""

    cron: str = "0 2 * * *"
    timezone: str = "UTC"


class JobSettings(Settings):
    """One nightly job, whole."""

    name: Slug
    datasets: list[DatasetSettings] = Field(min_length=1)
    purpose: Use = "train_generative"
    commercial: bool = True
    policy: Path | None = None
    salted: bool = False  # proofs about its snapshots show no other asset's digest
    duplicates: DuplicateSettings = DuplicateSettings()
    model: ModelSettings = ModelSettings()
    batch: BatchSettings = BatchSettings()
    screening: ScreeningSettings = ScreeningSettings()
    credentials: CredentialSettings = CredentialSettings()
    work: WorkSettings = WorkSettings()
    schedule: ScheduleSettings = ScheduleSettings()

    @model_validator(mode="after")
    def _distinct(self) -> "JobSettings":
        names = [dataset.name for dataset in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError("datasets: two of them have the same name")
        if self.batch.variations and self.batch.variations.dataset not in names:
            raise ValueError(f"batch.variations: {self.batch.variations.dataset!r} is none of the datasets")
        return self


def load_job(path: Path) -> JobSettings:
    """Read a job's YAML. Raises ImprimaturError that names the file, the key and the fix."""
    return load_settings(path, JobSettings)


def load_settings(path: Path, model: type[SomeSettings]) -> SomeSettings:
    """Read a YAML file into `model`. Raises ImprimaturError that names the file, the key and the fix."""
    value = load_mapping(path)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explained(path, model, error) from None


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file of `key: value` lines. Raises ImprimaturError that names the file and the fix."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ImprimaturError(f"{path}: no such file", "name an existing YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ImprimaturError(f"{path}: cannot be read ({error})", "name a readable YAML file") from None
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ImprimaturError(f"{path}: not valid YAML: {error}", "mend the line that it names") from None
    if not isinstance(value, dict):
        raise ImprimaturError(f"{path}: holds no settings", "write `key: value` lines; see configs/nightly.yaml")
    return value


def explained(path: Path, model: type[Settings], error: ValidationError) -> ImprimaturError:
    """Say the first faults of a file in one line each, with the closest known key for an unknown one."""
    lines, fixes = [], []
    for fault in error.errors()[:5]:
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key")
            known = _known_keys(model, fault["loc"][:-1])
            close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
            fixes.append(f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}")
        else:
            lines.append(f"{where}: {fault['msg']}" if where else fault["msg"])
    return ImprimaturError(f"{path}: " + "; ".join(lines), "; ".join(fixes) or "mend the named keys")


def _known_keys(model: type[Settings], location: tuple[Any, ...]) -> list[str]:
    """Field names of the settings block at `location` inside `model`."""
    kinds: list[type[Settings]] = []
    for part in location:
        if isinstance(part, int):
            continue
        if part not in model.model_fields:  # the tag of one of several kinds
            model = next(kind for kind in kinds if part in get_args(kind.model_fields["kind"].annotation))
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        kinds = [c for c in candidates if isinstance(c, type) and issubclass(c, Settings)]
        if not kinds:
            return []
        model = kinds[0]
    return list(model.model_fields)
