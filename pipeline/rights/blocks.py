"""Blocks: files that have nothing to do with each other are decided apart, on all cores and in bounded memory.

Joined are files of which one may speak for, or be meant with, another: the same bytes or pixels, an origin named in
`derived_from`, a name that fits both. So no decision on a block depends on another block.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import feather
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.catalog.ledger import ConsentEvent, event_table
from pipeline.catalog.tables import DECISIONS
from pipeline.core.work import Job, Result, mapper, raise_failures
from pipeline.rights.assets import filled, first_filled, inventory_table, tidy
from pipeline.rights.coded import DIGEST, Codes, digest_numbers
from pipeline.rights.decision import decide_table
from pipeline.rights.findings import Purpose
from pipeline.rights.licences import normalise
from pipeline.rights.policy import Policy
from pipeline.rights.ruling import Question

BLOCK = 1_000_000  # rows at least; a worker takes about two gigabytes for them
_NOTHING: Job = {}
_ALL, _NONE = -1, -2  # an event may concern every block, or none
_PIXELS = np.uint64(0x9E3779B97F4A7C15)  # tells digests of pixels from those of bytes


def decide(
    inventory: pd.DataFrame,
    dataset_licences: Mapping[str, str],
    events: Sequence[ConsentEvent] | pa.Table,
    purpose: Purpose,
    policy: Policy,
    as_of: str,
    known_at: str,
) -> pd.DataFrame:
    """Decide every accepted file.

    `inventory` holds the rows of tables.INVENTORY of all datasets concerned, with a `dataset` column; rejected
    rows are not decided, but references to them are understood. `as_of` is the moment asked about, `known_at`
    bounds what had been recorded by then (both RFC 3339 as core/moments.py writes them); of events, or
    ledger.read_event_table of that very moment. Returns tables.DECISIONS in the inventory's order.
    """
    question = Question(purpose, policy, as_of)
    recorded = isinstance(events, pa.Table)
    known = events if recorded else event_table([event for event in events if event.recorded_at <= known_at])
    table = decide_blocks(inventory_table(inventory), dataset_licences, known, question)
    return pd.DataFrame({name: table[name].to_pylist() for name in DECISIONS.names})


@dataclass(frozen=True)
class Block:
    """Some rows of an inventory, and the events that may concern them."""

    rows: Codes
    inventory: pa.Table
    events: pa.Table


def decide_blocks(
    inventory: pa.Table, dataset_licences: Mapping[str, str], known: pa.Table, question: Question, size: int = BLOCK
) -> pa.Table:
    """What `decision.decide_table` gives, for large inventories: in blocks of `size` rows or more, on all cores."""
    if inventory.num_rows <= size:
        return decide_table(inventory, dataset_licences, known, question)
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="imprimatur-") as folder, mapper("processes", cores) as parallel_map:
        blocks = enumerate(split(inventory, known, size))
        jobs = (_write(Path(folder, str(number)), block, dataset_licences, question) for number, block in blocks)
        begin = [_NOTHING] * cores  # workers start while the first block is made
        done = filter(None, raise_failures(parallel_map(_decide, chain(begin, jobs))))
        together = pa.concat_tables([feather.read_table(result["decisions"]) for result in done]).combine_chunks()
    return together.drop_columns("row").take(pc.sort_indices(together["row"]))


def split(inventory: pa.Table, events: pa.Table, size: int) -> Iterator[Block]:
    """The blocks of an inventory (as for decide_table), each of `size` rows or more, but for the last."""
    row, number = _names(inventory)
    name, names = pd.factorize(number)
    component, _ = pd.factorize(_joined(row, name, inventory.num_rows))  # by first row: neighbours stay together
    of_row = ((np.cumsum(np.bincount(component)) - 1) // size)[component]
    of_name = np.full(len(names) + 1, _NONE)  # the last is that of no name
    of_name[name] = of_row[row]
    of_event = _blocks_of(events, names, of_name)
    for block in np.unique(of_row):
        of_block, concerned = of_row == block, (of_event == block) | (of_event == _ALL)
        yield Block(
            np.flatnonzero(of_block), inventory.filter(pa.array(of_block)), events.filter(pa.array(concerned))
        )


def _names(inventory: pa.Table) -> tuple[Codes, NDArray[np.uint64]]:
    """(row, number of a name) for all by which an event or an origin may mean it: digest, key, its own origins."""
    every = np.arange(inventory.num_rows)
    origins = inventory["derived_from"].combine_chunks().cast(pa.list_(pa.string()))
    digests = first_filled(inventory, "asset", "sha256")
    columns = [
        (every, pc.fill_null(digests, "")),
        (every, filled(inventory["key"])),
        (np.asarray(pc.list_parent_indices(origins)), tidy(pc.fill_null(origins.flatten(), ""))),
    ]
    columns += [_after_colon(rows, texts) for rows, texts in columns[1:]]
    numbered = [(rows, _numbers(texts)) for rows, texts in columns]
    numbered.append(
        (every, np.where(pixels := _numbers(filled(inventory["pixels"])), pixels ^ _PIXELS | np.uint64(1), 0))
    )
    row, number = (np.concatenate(parts) for parts in zip(*numbered, strict=True))
    return row[number != 0], number[number != 0]


def _joined(row: Codes, name: Codes, size: int) -> Codes:
    """A number for each row, the same for rows that share a name, directly or through others."""
    shared = (np.bincount(name) > 1)[name]
    ends = (row[shared], size + name[shared])
    nodes = size + int(name.max(initial=-1)) + 1
    graph = coo_matrix((np.ones(len(ends[0]), np.int8), ends), (nodes, nodes))
    labels: Codes = connected_components(graph, directed=False)[1][:size]
    return labels


def _blocks_of(events: pa.Table, names: NDArray[np.uint64], of_name: Codes) -> Codes:
    """The block of each event: _ALL where it names no asset, _NONE where no row fits."""
    references, known = tidy(filled(events["subject_id"])), pd.Index(names)
    found = of_name[known.get_indexer(pd.Index(_numbers(references)))]
    rest, keys = _after_colon(np.flatnonzero(found == _NONE), references.filter(pa.array(found == _NONE)))
    found[rest] = of_name[known.get_indexer(pd.Index(_numbers(keys)))]
    elsewhere = pc.or_(pc.not_equal(filled(events["subject_type"]), "asset"), pc.equal(references, ""))
    return np.where(elsewhere, _ALL, found)


def _after_colon(rows: Codes, texts: pa.StringArray) -> tuple[Codes, pa.StringArray]:
    """Of what is written dataset:key, the rows and the keys."""
    colon = pc.match_substring(texts, ":")
    return rows[np.asarray(colon)], pc.replace_substring_regex(texts.filter(colon), "^[^:]*:", "")


def _numbers(texts: pa.StringArray) -> NDArray[np.uint64]:
    """A number for each text, 0 for none. Different texts may share one: that only joins what could be apart."""
    length = np.asarray(pc.binary_length(texts))
    numbers = np.zeros(len(texts), np.uint64)
    if (long := length == DIGEST).any():
        numbers[long] = digest_numbers(texts.filter(pa.array(long))) | np.uint64(1)  # 0 is no name
    if len(short := np.flatnonzero(~long & (length > 0))):
        objects = texts.take(pa.array(short)).to_numpy(zero_copy_only=False)
        numbers[short] = pd.util.hash_array(objects, categorize=False) | np.uint64(1)
    return numbers


def _write(path: Path, block: Block, dataset_licences: Mapping[str, str], question: Question) -> Job:
    """A block as a job: tables lie in files, so that workers do not get them through a pipe."""
    path.mkdir()
    feather.write_feather(block.inventory, str(path / "inventory"), compression="uncompressed")
    feather.write_feather(block.events, str(path / "events"), compression="uncompressed")
    np.save(path / "rows.npy", block.rows)
    return {"folder": str(path), "licences": dict(dataset_licences), "question": question}


def _decide(job: Job) -> Result:
    if not job:
        normalise("MIT")  # reads the list of licences
        return {}
    path = Path(job["folder"])
    inventory, events = (feather.read_table(path / name, memory_map=True) for name in ("inventory", "events"))
    decided = decide_table(inventory, job["licences"], events, job["question"])
    accepted = np.load(path / "rows.npy")[np.asarray(pc.equal(inventory["status"], "accepted"))]
    feather.write_feather(
        decided.append_column("row", pa.array(accepted)), str(path / "decisions"), compression="uncompressed"
    )
    return {"decisions": str(path / "decisions")}
