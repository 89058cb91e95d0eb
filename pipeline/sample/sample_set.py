"""Draw the sample set: the pictures, the table of rights, the consent events, and the answers that must come out."""

import csv
import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from pipeline.core.digests import file_sha256, json_digest, source_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings, load_settings
from pipeline.core.shards import machine_faults_named
from pipeline.core.workspace import Workspace
from pipeline.sample.definition import Broken, Collection, Copy, Event, SampleDefinition
from pipeline.sample.drawings import draw
from pipeline.sample.encoding import copied, damaged, data_mining_mark, encode
from pipeline.sample.plan import Planned, plan_files

# Hidden files: no ingest reads them.
RECORD = ".sample.json"
EXPECTED = ".expected.csv"
# The table speaks its makers' language on purpose; configs/nightly.yaml maps it.
TABLE_COLUMNS = ("path", "artist", "rights", "category", "source", "credit", "shows", "made_from")


@dataclass(frozen=True)
class SampleTotals:
    """What the sample set holds: files by the decision that they must get, and those that no model may see."""

    folder: Path
    drawn: bool  # False: the folder was complete already
    files: int
    allow: int
    review: int
    deny: int
    rejected: int
    barred: int  # files that must not be trained on; of a group of copies, all but one


def draw_sample_set(definition: Path, folder: Path, count: int | None = None) -> SampleTotals:
    """Draw the set that `definition` (data/sample.yaml) describes into `folder`, about `count` files of it.

    Equal definitions, counts and library versions give equal bytes, but for the files with a signed credential. A
    complete folder is left as it is. The set appears whole or not at all: it is drawn beside the folder and renamed.
    Raises ImprimaturError for an unusable definition, or a folder that holds something else.
    """
    settings = load_settings(definition, SampleDefinition)
    files = plan_files(settings, count or settings.count)
    key = json_digest(
        {
            "definition": file_sha256(definition),
            "code": source_digest([Path(__file__).parent]),
            "count": count or settings.count,
            "libraries": [np.__version__, PIL.__version__],
        }
    )
    if _is_complete(folder, key, files):
        return _totals(folder, files, drawn=False)
    if folder.exists() and not (folder / RECORD).exists() and any(folder.iterdir()):
        raise ImprimaturError(f"{folder}: holds files that are no sample set", "name a new or empty folder")
    partial = folder.with_name(f".{folder.name}.partial")
    with machine_faults_named(folder):
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was interrupted
        _write_set(partial, settings, files)
        (partial / RECORD).write_text(json.dumps({"key": key, "files": len(files)}) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return _totals(folder, files, drawn=True)


def _is_complete(folder: Path, key: str, files: Sequence[Planned]) -> bool:
    try:
        record = json.loads((folder / RECORD).read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return bool(record.get("key") == key) and all((folder / file.file).exists() for file in files if _has_bytes(file))


def _has_bytes(file: Planned) -> bool:
    return not (isinstance(file.origin, Broken) and file.origin.kind == "missing")


def _totals(folder: Path, files: Sequence[Planned], drawn: bool) -> SampleTotals:
    decisions = Counter(file.decision for file in files)
    trained = sum(file.trained == "yes" for file in files) + len({f.group for f in files if f.trained == "one"})
    counts = {name: decisions[name] for name in ("allow", "review", "deny", "rejected")}
    return SampleTotals(folder, drawn, len(files), **counts, barred=len(files) - trained)


def _write_set(folder: Path, settings: SampleDefinition, files: Sequence[Planned]) -> None:
    for file in files:
        (folder / file.file).parent.mkdir(parents=True, exist_ok=True)
        content = _content(file, settings, folder)
        if content is not None:
            (folder / file.file).write_bytes(content)
        if isinstance(file.origin, Collection) and file.origin.headers:
            sidecar = (folder / file.file).with_suffix(".headers.json")
            sidecar.write_text(json.dumps(file.origin.headers) + "\n")
    _sign(folder, [file for file in files if isinstance(file.origin, Collection) and file.origin.credential])
    _write_csv(folder / "metadata.csv", TABLE_COLUMNS, map(_table_row, filter(_is_listed, files)))
    _write_csv(folder / "consent-events.csv", _EVENT_COLUMNS, _event_rows(settings.events, files))
    _write_csv(folder / EXPECTED, _EXPECTED_COLUMNS, map(_expected_row, files))


def _content(file: Planned, settings: SampleDefinition, folder: Path) -> bytes | None:
    """A file's bytes; a copy reads its original, which was written before."""
    if isinstance(file.origin, Copy):
        return copied((folder / file.original).read_bytes(), file.origin.kind, file.format)
    image = draw(file.label, file.number, settings.seed, settings.size)
    if isinstance(file.origin, Broken):
        return damaged(file.origin.kind, image)
    return encode(image, file.format, data_mining_mark(file.origin.mining) if file.origin.mining else b"")


def _sign(folder: Path, files: Sequence[Planned]) -> None:
    """Sign the makers' wishes into their files, with a key that is thrown away afterwards."""
    if not files:
        return
    # the C2PA SDK is heavy, and a small set may need none of it
    from pipeline.credentials.identity import ensure_identity
    from pipeline.credentials.permissions import sign_training_mining

    with tempfile.TemporaryDirectory() as throwaway:
        identity = ensure_identity(CredentialSettings(), Workspace.at(Path(throwaway)))
        for file in files:
            path = folder / file.file
            entries = file.origin.credential if isinstance(file.origin, Collection) else {}
            signed = sign_training_mining(
                path.read_bytes(), f"image/{file.format}", entries, path.name, "2025-10-01T09:00:00Z", identity
            )
            path.write_bytes(signed)


_EXPECTED_COLUMNS = ("file", "case", "decision", "trained", "group", "because")
_EVENT_COLUMNS = tuple(name for name in Event.model_fields if name != "collection")


def _is_listed(file: Planned) -> bool:
    return not (isinstance(file.origin, Collection) and not file.origin.listed)


def _table_row(file: Planned) -> dict[str, str]:
    credit = f"{' and '.join(file.holders)}, {file.key}" if file.holders else ""
    return {
        "path": file.file,
        "artist": "|".join(file.holders),
        "rights": file.licence,
        "category": file.label,
        "source": f"https://sample.example/{file.label}/{file.number}",
        "credit": credit,
        "shows": "|".join(file.depicts),
        "made_from": file.derived_from,
    }


def _expected_row(file: Planned) -> dict[str, str]:
    return {name: str(getattr(file, name)) for name in _EXPECTED_COLUMNS}


def _event_rows(events: Sequence[Event], files: Sequence[Planned]) -> Iterable[dict[str, str]]:
    """Events as rows; one about a collection becomes one for each of its files."""
    for event in events:
        row = {name: "" if value is None else str(value) for name, value in event.model_dump().items()}
        name = row.pop("collection")
        if not name:
            yield row
        for number, file in enumerate(file for file in files if name and file.case == name):
            yield row | {"event_id": f"{event.event_id}-{number + 1}", "subject_id": file.key}


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue(), encoding="utf-8")
