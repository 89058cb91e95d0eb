"""Blocks: files that have nothing to do with each other are decided apart, on all cores and in bounded memory.

Joined are files of which one may speak for, or be meant with, another: the same bytes or pixels, an origin named in
`derived_from`, a name that fits both. So no decision on a block depends on another block.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipeline.core.work import Job, Result, mapper, raise_failures
from pipeline.rights.assets import Codes, first_filled, tidy
from pipeline.rights.decision import decide_table
from pipeline.rights.ruling import Question

BLOCK = 125_000  # rows at least; about 300 MB in a worker


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
    with (
        tempfile.TemporaryDirectory(prefix="imprimatur-") as folder,
        mapper("processes", os.cpu_count() or 1) as parallel_map,
    ):
        blocks = enumerate(split(inventory, known, size))
        jobs = (_write(Path(folder, str(number)), block, dataset_licences, question) for number, block in blocks)
        done = raise_failures(parallel_map(_decide, jobs))
        together = pa.concat_tables([feather.read_table(result["decisions"]) for result in done]).combine_chunks()
    return together.drop_columns("row").take(pc.sort_indices(together["row"]))


def split(inventory: pa.Table, events: pa.Table, size: int) -> Iterator[Block]:
    """The blocks of an inventory (as for decide_table), each of `size` rows or more, but for the last."""
    names = _Names(inventory)
    component, _ = pd.factorize(names.joined())  # numbered by first row, so that most rows keep their neighbours
    before = np.cumsum(np.bincount(component)) - 1
    of_row = (before // size)[component]
    of_event = names.blocks_of(events, of_row)
    inventory, events = inventory.combine_chunks(), events.combine_chunks()
    for block in np.unique(of_row):
        rows, concerned = np.flatnonzero(of_row == block), np.isin(of_event, [block, _ALL])
        yield Block(rows, inventory.take(pa.array(rows)), events.filter(pa.array(concerned)))


_ALL, _NONE = -1, -2  # an event may concern every block, or none


class _Names:
    """Every name by which an event or an origin may mean a row: digest, key, and those of its own origins."""

    def __init__(self, inventory: pa.Table) -> None:
        self._every = every = np.arange(inventory.num_rows)
        origins = inventory["derived_from"].combine_chunks().cast(pa.list_(pa.string()))
        digests = first_filled(_texts(inventory["asset"]), _texts(inventory["sha256"]))
        columns = [(every, pc.fill_null(digests, "")), (every, _texts(inventory["key"]))]
        columns.append((np.asarray(pc.list_parent_indices(origins)), tidy(pc.fill_null(origins.flatten(), ""))))
        self._row, self._name, self._values = _named(columns)
        self._pixels = _named([(every, _texts(inventory["pixels"]))])

    def joined(self) -> Codes:
        """A number for each row that joined rows share."""
        size, names = len(self._every), len(self._values)
        row, what = np.concatenate([self._row, self._pixels[0]]), np.concatenate([self._name, names + self._pixels[1]])
        colon = np.flatnonzero(pc.match_substring(self._values, ":"))  # dataset:key may mean the key
        key = self._find(_after_colon(self._values.take(pa.array(colon))))
        colon, key = colon[key >= 0], key[key >= 0]
        shared = np.bincount(what, minlength=names) > 1
        shared[colon] = shared[key] = True
        ends = np.concatenate([row[shared[what]], size + colon]), size + np.concatenate([what[shared[what]], key])
        nodes = size + len(shared)
        graph = coo_matrix((np.ones(len(ends[0]), np.int8), ends), (nodes, nodes))
        labels: Codes = connected_components(graph, directed=False)[1][:size]
        return labels

    def blocks_of(self, events: pa.Table, block: Codes) -> Codes:
        """The block of each event, given those of the rows: _ALL where it names no asset, _NONE where none fits."""
        of_name = np.full(len(self._values) + 1, _NONE)  # the last is that of no name
        of_name[self._name] = block[self._row]
        references = tidy(_texts(events["subject_id"]))
        found = of_name[self._find(references)]
        rest = np.flatnonzero((found == _NONE) & np.asarray(pc.match_substring(references, ":")))
        found[rest] = of_name[self._find(_after_colon(references.take(pa.array(rest))))]
        elsewhere = pc.or_(pc.not_equal(_texts(events["subject_type"]), "asset"), pc.equal(references, ""))
        return np.where(elsewhere, _ALL, found)

    def _find(self, texts: pa.StringArray) -> Codes:
        """The number of each name, -1 where no row has it."""
        return np.asarray(pc.fill_null(pc.index_in(texts, value_set=self._values), -1), dtype=np.int64)


def _named(columns: list[tuple[Codes, pa.StringArray]]) -> tuple[Codes, Codes, pa.StringArray]:
    """(row, number of its name) for every name that is not empty, and the names."""
    row, texts = np.concatenate([rows for rows, _ in columns]), pa.concat_arrays([texts for _, texts in columns])
    filled = pc.not_equal(texts, "")
    encoded = pc.dictionary_encode(texts.filter(filled))
    return row[np.asarray(filled)], np.asarray(encoded.indices, dtype=np.int64), encoded.dictionary


def _after_colon(texts: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring_regex(texts, "^[^:]*:", "")


def _texts(column: pa.ChunkedArray) -> pa.StringArray:
    return pc.fill_null(column.cast(pa.string()).combine_chunks(), "")


def _write(path: Path, block: Block, dataset_licences: Mapping[str, str], question: Question) -> Job:
    """A block as a job: tables lie in files, so that workers do not get them through a pipe."""
    path.mkdir()
    feather.write_feather(block.inventory, str(path / "inventory"), compression="uncompressed")
    feather.write_feather(block.events, str(path / "events"), compression="uncompressed")
    np.save(path / "rows.npy", block.rows)
    return {"folder": str(path), "licences": dict(dataset_licences), "question": question}


def _decide(job: Job) -> Result:
    path = Path(job["folder"])
    inventory, events = (feather.read_table(path / name, memory_map=True) for name in ("inventory", "events"))
    decided = decide_table(inventory, job["licences"], events, job["question"])
    accepted = np.load(path / "rows.npy")[np.asarray(pc.equal(inventory["status"], "accepted"))]
    feather.write_feather(
        decided.append_column("row", pa.array(accepted)), str(path / "decisions"), compression="uncompressed"
    )
    return {"decisions": str(path / "decisions")}
