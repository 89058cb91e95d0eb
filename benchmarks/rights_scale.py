"""Rights at scale: decisions on a million assets with a million events, one asset, one event, chain, Merkle root.

    python benchmarks/rights_scale.py                # one million of each: the floors of docs/benchmarks/rights.md
    python benchmarks/rights_scale.py --millions 10      # growth

Synthetic and seeded: five datasets, 20,000 holders a million assets, every tenth asset with two of them, 2% twins, 2%
derivatives, 5% signals; events about assets (95%) and holders (5%), 1% of them unreadable, by holders, the studio and
strangers, at random moments of two years, on the terms of one of 24 forms of contract. The ledger is a real SQLite
catalog on disk, the inventory a Parquet file. Each part runs in a process of its own; seconds are wall-clock with the
CPU seconds beside them, memory is the peak of that process.
"""

import argparse
import hashlib
import itertools
import json
import multiprocessing
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import insert

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import (
    ConsentEvent,
    append_events,
    event_columns,
    event_hash,
    read_event_table,
    subject_key,
    verify_chain,
)
from pipeline.catalog.tables import INVENTORY, consent_events
from pipeline.core.merkle import merkle_root
from pipeline.core.workspace import Workspace
from pipeline.rights.assets import COLUMNS
from pipeline.rights.blocks import decide_blocks
from pipeline.rights.explain import explain
from pipeline.rights.findings import parse_purpose
from pipeline.rights.inquiry import Inquiry
from pipeline.rights.policy import Policy
from pipeline.rights.ruling import Question

AS_OF = "2026-06-01T00:00:00.000000Z"
QUESTION = Question(parse_purpose("train_generative:commercial"), Policy(), AS_OF)
DATASETS = [f"set-{number}" for number in range(5)]
DATASET_LICENCES = dict(zip(DATASETS, ["", "CC-BY-4.0", "CC0-1.0", "LicenseRef-studio", "other"], strict=True))
LICENCES = ["", "LicenseRef-contract", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0", "MIT", "unknown"]
USES = ["*", "train_generative|train_other", "train_other"]
FORMS = list(
    itertools.product(USES, ["any", "yes"], ["*", "EU"], ["no", "yes"])
)  # uses, commercial, territory, overrides
CHUNK = 100_000
_SELF, _CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN


def digest(number: int) -> str:
    return hashlib.sha256(b"asset %d" % number).hexdigest()


def holder(number: int) -> str:
    return f"Holder {number:06}"


def moment(chance: random.Random) -> str:
    return f"202{chance.randrange(4, 6)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}T12:00:00.000000Z"


def inventory_chunks(count: int) -> Iterator[pa.Table]:
    chance = random.Random(1)
    schema = pa.schema([("dataset", pa.string()), *INVENTORY])
    signals = [json.dumps({"xmp": {"dc:rights": f"(c) photographer {number}"}}) for number in range(200)]
    signals += [json.dumps({"headers": {"x-robots-tag": [f"noai, max-snippet: {number}"]}}) for number in range(20)]
    for start in range(0, count, CHUNK):
        rows = []
        for number in range(start, min(start + CHUNK, count)):
            owner = chance.randrange(max(1, count // 50))
            rows.append(
                {
                    "dataset": DATASETS[number % 5],
                    "file": f"pictures/{number:08}.png",
                    "status": "accepted",
                    "asset": digest(number),
                    "sha256": digest(number),
                    "pixels": digest(number - 1 if chance.random() < 0.02 else number),
                    "key": f"{number:08}",
                    "licence": chance.choice(LICENCES),
                    "holders": [holder(owner), holder(owner + 1)] if chance.random() < 0.1 else [holder(owner)],
                    "depicts": [f"Person {owner}"] if chance.random() < 0.01 else [],
                    "derived_from": [digest(chance.randrange(count))] if chance.random() < 0.02 else [],
                    "signals": chance.choice(signals) if chance.random() < 0.05 else "",
                }
            )
        yield pa.Table.from_pylist(rows, schema=schema)


def events(count: int) -> Iterator[ConsentEvent]:
    chance = random.Random(2)
    for number in range(count):
        kind, asset, owner = chance.random(), chance.randrange(count), chance.randrange(max(1, count // 50))
        recorded, form = moment(chance), FORMS[int(len(FORMS) * chance.random() ** 2)]
        about_holder = kind < 0.05
        subject = holder(owner) if about_holder else digest(asset) if kind < 0.95 else f"set-{asset % 5}:{asset:08}"
        yield ConsentEvent(
            event_id=f"event-{number:08}",
            recorded_at=recorded,
            effective_from=recorded if chance.random() < 0.8 else moment(chance),
            effective_until="" if chance.random() < 0.7 else "2026-03-01T00:00:00.000000Z",
            actor=chance.choices(["", holder(owner), f"Stranger {asset % 1000}"], [80, 15, 5])[0],
            subject_type="holder" if about_holder else "asset",
            subject_id=subject,
            action=chance.choices(["grant", "withdraw", "restrict", "expire", "unreadable"], [55, 20, 9, 15, 1])[0],
            uses=form[0],
            commercial=form[1],
            territory=form[2],
            overrides_signals=form[3],
            evidence=f"contract-{number % 1000}.pdf",
            note="",
        )


def write_inventory(folder: Path, count: int) -> None:
    chunks = inventory_chunks(count)
    first = next(chunks)
    with pq.ParquetWriter(folder / "inventory.parquet", first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for chunk in chunks:
            writer.write_table(chunk)


def write_ledger(folder: Path, count: int) -> dict[str, Any]:
    """The chain as append_events makes it, without its look-up of known ids: a bulk load."""
    catalog, prev, rows = open_catalog(Workspace(folder)), "", []
    with catalog.begin() as connection:
        for seq, event in enumerate(events(count), 1):
            link = event_hash(event, prev)
            rows.append(
                {
                    "seq": seq,
                    **event_columns(event),
                    "subject_key": subject_key(event.subject_id),
                    "prev": prev,
                    "hash": link,
                }
            )
            prev = link
            if len(rows) == CHUNK or seq == count:
                connection.execute(insert(consent_events), rows)
                rows.clear()
    return {"megabytes": (folder / "catalog.sqlite").stat().st_size / 1e6}


def load(folder: Path) -> tuple[pa.Table, pa.Table]:
    inventory = pq.read_table(folder / "inventory.parquet", columns=["dataset", *COLUMNS]).combine_chunks()
    return inventory, read_event_table(open_catalog(Workspace(folder)), AS_OF)


def decide_all(folder: Path, count: int) -> dict[str, Any]:
    began, cpu = time.perf_counter(), time.process_time()
    inventory, known = load(folder)
    reading, reading_cpu = time.perf_counter() - began, time.process_time() - cpu
    table = decide_blocks(inventory, DATASET_LICENCES, known, QUESTION)
    deciding, deciding_cpu = time.perf_counter() - began - reading, time.process_time() - cpu - reading_cpu
    decided = dict(Counter(table["decision"].to_pylist()))
    seconds = {"reading": reading, "reading_cpu": reading_cpu, "deciding": deciding, "deciding_cpu": deciding_cpu}
    return {**seconds, "decisions": table.num_rows, **decided}


def one_asset(folder: Path, count: int) -> dict[str, Any]:
    inventory = pq.read_table(folder / "inventory.parquet", columns=["dataset", *COLUMNS])
    began, chance = time.perf_counter(), random.Random(3)
    inquiry = Inquiry(open_catalog(Workspace(folder)), inventory, DATASET_LICENCES)
    opening, spent, cpu = time.perf_counter() - began, [], []
    for _ in range(300):
        reference = digest(chance.randrange(count))
        began, used = time.perf_counter(), time.process_time()
        decisions, rows = inquiry.ask(reference, QUESTION, AS_OF)
        assert explain(decisions, rows, AS_OF)[0].asset == reference
        spent.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - used))
    return {"opening_seconds": opening, **quantiles(spent), "cpu_milliseconds_median": statistics.median(cpu)}


def quantiles(milliseconds: list[float]) -> dict[str, float]:
    return {
        "milliseconds_median": statistics.median(milliseconds),
        "p95": statistics.quantiles(milliseconds, n=20)[-1],
    }


def one_event(folder: Path, count: int) -> dict[str, Any]:
    catalog, spent = open_catalog(Workspace(folder)), []
    for number, event in enumerate(events(100)):
        began = time.perf_counter()
        append_events(catalog, [ConsentEvent(**{**event_columns(event), "event_id": f"late-{number}"})])
        spent.append(1000 * (time.perf_counter() - began))
    return quantiles(spent)


def chain(folder: Path, count: int) -> dict[str, Any]:
    began = time.perf_counter()
    check = verify_chain(open_catalog(Workspace(folder)))
    assert check.intact
    return {"events_a_second": check.events / (time.perf_counter() - began)}


def root(folder: Path, count: int) -> dict[str, Any]:
    assets = [digest(number) for number in range(count)]
    began, cpu = time.perf_counter(), time.process_time()
    merkle_root(assets)
    return {"root_seconds": time.perf_counter() - began, "root_cpu_seconds": time.process_time() - cpu}


def measured(part: Callable[[Path, int], dict[str, Any] | None], folder: Path, count: int) -> dict[str, Any]:
    """Run a part in a process of its own: its own numbers, wall and CPU seconds, peak memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, part, folder, count).result()


def _measure(part: Callable[[Path, int], dict[str, Any] | None], folder: Path, count: int) -> dict[str, Any]:
    began, cpu = time.perf_counter(), time.process_time()
    found = part(folder, count) or {}
    spent = {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    own, workers = (resource.getrusage(who).ru_maxrss * 1024 / 1e9 for who in (_SELF, _CHILDREN))
    return found | spent | {"peak_gb": own} | ({"largest_worker_gb": workers} if workers else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="keep the data here, and use what lies there")
    given = parser.parse_args()
    count, folder = int(given.millions * 1e6), given.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        parts = [decide_all, one_asset, one_event, chain, root]
        if not (folder / "catalog.sqlite").exists():
            parts = [write_inventory, write_ledger, *parts]
        for part in parts:
            figures = measured(part, folder, count)
            print(
                f"{part.__name__:16}",
                {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()},
                flush=True,
            )
    finally:
        if given.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
