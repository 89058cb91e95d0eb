"""A look at a source before it is taken in: digest, size, rights data and perceptual hash of every file.

JPEGs are decoded at reduced size only, which is several times as fast as an ingest; nothing is stored. What only the
whole picture shows (its pixel digest, flat colour, damage in the finest detail) is left to the ingest.
"""

from collections.abc import Iterator
from typing import Any

from pipeline.catalog.decode import BadImage, glance
from pipeline.core.digests import sha256
from pipeline.core.guard import Guard, Limits, Lost
from pipeline.core.settings import DatasetSettings, WorkSettings
from pipeline.core.work import Job, Result, mapper, raise_failures
from pipeline.core.workspace import Workspace
from pipeline.ingest.entries import Item
from pipeline.ingest.places import Array, Refused, read
from pipeline.ingest.reasons import IngestReason
from pipeline.ingest.shard import beside
from pipeline.ingest.signals import read_signals
from pipeline.ingest.sources import open_source
from pipeline.ingest.table import Mapping
from pipeline.similarity.fingerprints import GLANCE_METHOD, GLANCE_SIDE, glance_hash

Row = dict[str, Any]


def survey(dataset: DatasetSettings, workspace: Workspace, work: WorkSettings) -> Iterator[Row]:
    """One row a file seen, in no order: file, status, reason, detail, sha256, width, height, format, signals, phash,
    method. Raises ImprimaturError as an ingest does.
    """
    with open_source(dataset, workspace) as source:
        mapping = {"columns": dataset.columns, "values": dataset.values, "problems": source.problems}
        jobs = ({"items": items, **mapping} for items in _chunks(source.items(), work.shard_size))
        with mapper(work.backend, work.workers, work.address) as pmap:
            for result in raise_failures(pmap(survey_shard, jobs)):
                yield from result["rows"]


def survey_shard(job: Job) -> Result:
    """The rows of a run of items; one bad file never stops it."""
    state = Mapping(job["columns"], job["values"]), tuple(job["problems"])
    rows = []
    with Guard(survey_item, state, Limits()) as guard:
        for outcome in guard.examine_all(job["items"]):
            if isinstance(outcome, Lost):
                outcome = _row(outcome.item, "rejected", reason=outcome.reason, detail=outcome.detail)
            rows.append(outcome)
    return {"rows": rows}


def survey_item(state: tuple[Mapping, tuple[str, ...]], item: Item) -> Row:
    """The row of one file."""
    mapping, problems = state
    digest = ""
    try:
        if item.reason or item.place is None:
            raise Refused(item.reason or IngestReason.UNREADABLE, item.detail)
        data = read(item.place)
        digest = sha256(data)
        image, grey = glance(data, GLANCE_SIDE, arrays=isinstance(item.place, Array))
    except (Refused, BadImage) as fault:
        return _row(item, "rejected", reason=str(fault.reason), detail=fault.detail, sha256=digest)
    sidecars, _, unread = beside(item, mapping)
    return _row(
        item,
        "accepted",
        sha256=digest,
        width=image.width,
        height=image.height,
        format=image.format or "",
        signals=read_signals(data, image, sidecars, [*problems, *unread]),
        phash=glance_hash(grey).hex(),
        method=GLANCE_METHOD,
    )


def _row(item: Item, status: str, **found: Any) -> Row:
    blank = {"file": item.file, "status": status, **dict.fromkeys(("reason", "detail", "sha256", "format"), "")}
    return blank | {"width": 0, "height": 0, "signals": "", "phash": "", "method": ""} | found


def _chunks(items: Iterator[Item], count: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == count:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
