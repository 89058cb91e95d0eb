"""The near-duplicate join past one machine: shards of codes are dealt out by band key, and the piles joined as jobs.

Two job functions for the work seam. `deal_shard` writes each code of a shard once a band, into the pile of the
highest bits of its key. `join_piles` joins two piles of one band whose highest bits differ by no more than the flips
of the band allow. Together the jobs find exactly the pairs of join.near_pairs, each once.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline.core.settings import WorkSettings
from pipeline.core.shards import part_path, write_bytes
from pipeline.core.work import Job, ParallelMap, Result, mapper, raise_failures
from pipeline.similarity.bands import Bucketed, Codes, Plan, band_blocks, band_keys, bucketed, masks, plan_bands
from pipeline.similarity.join import Join, Pairs, in_order, near_pairs

_SHARD_SIZE = 1_000_000  # codes; three seconds of one core at 64 bits, eight at 256
_PILE_BITS = 2  # of the key: four piles a band


def join_with(work: WorkSettings, folder: Path, shard_size: int = _SHARD_SIZE) -> Join:
    """A join that takes more codes than a shard holds to the workers; each of them must reach `folder`."""

    def join(codes: Codes, distance: int) -> Pairs:
        if len(codes) <= shard_size:
            return near_pairs(codes, distance)
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as place, mapper(work.backend, work.workers, work.address) as pmap:
            starts = range(0, len(codes), shard_size)
            shards = [Path(place) / f"codes-{start}.npy" for start in starts]
            for path, start in zip(shards, starts, strict=True):
                _save(path, codes[start : start + shard_size])
            counts = [len(codes[start : start + shard_size]) for start in starts]
            return join_shards(pmap, shards, counts, codes.shape[1], distance, Path(place))

    return join


def join_shards(pmap: ParallelMap, shards: list[Path], counts: list[int], words: int, distance: int,
                folder: Path) -> Pairs:  # fmt: skip
    """Pairs within `distance` over all shards: .npy files of codes (n, words) uint64, `counts` codes each.

    Rows count on from shard to shard. `folder` takes the piles and the found pairs.
    """
    plan = plan_bands(words, distance, sum(counts))
    firsts = np.cumsum([0, *counts]).tolist()
    job = {"folder": str(folder), "words": words, "widths": plan.widths, "flips": plan.flips, "distance": distance}
    deals = [{**job, "shard": n, "codes": str(path), "first": firsts[n]} for n, path in enumerate(shards)]
    raise_failures(pmap(deal_shard, deals))
    joins = [{**job, "shards": len(shards), "band": band, "piles": piles}
             for band in range(len(plan.widths)) for piles in _pile_pairs(plan, band)]  # fmt: skip
    done = raise_failures(pmap(join_piles, joins))
    found = [np.load(result["out"]) for result in done]
    return in_order(np.concatenate([np.empty((0, 3), np.int64), *found]))


def deal_shard(job: Job) -> Result:
    """Write the codes of one shard and their rows into piles, by band and by the highest bits of the key."""
    plan, codes = _plan(job), np.load(job["codes"])
    rows = np.arange(job["first"], job["first"] + len(codes), dtype=np.uint64)
    for band in range(len(plan.widths)):
        pile_of = band_keys(codes, plan, band) >> np.uint32(plan.widths[band] - _bits(plan, band))
        for pile in range(1 << _bits(plan, band)):
            mine = pile_of == pile
            _save(_pile(job, band, pile, job["shard"]), np.column_stack([rows[mine], codes[mine]]))
    return {"shard": job["shard"]}


def join_piles(job: Job) -> Result:
    """Join two piles of a band, or one with itself; writes triples (row, row, distance)."""
    plan, band, (one, other) = _plan(job), job["band"], job["piles"]
    left, left_rows = _read(job, plan, one)
    right, right_rows = (left, left_rows) if one == other else _read(job, plan, other)
    low = plan.widths[band] - _bits(plan, band)
    high = (one ^ other) << low
    ways = masks(low, plan.flips[band] - (one ^ other).bit_count()) | np.uint32(high)
    found = [np.empty((0, 3), np.int64), *band_blocks(left, right, plan, band, job["distance"], ways)]
    triples = np.concatenate(found)
    rows = np.sort(np.stack([left_rows[triples[:, 0]], right_rows[triples[:, 1]]], axis=1), axis=1)
    out = Path(job["folder"]) / f"pairs-{band}-{one}-{other}.npy"
    _save(out, np.column_stack([rows, triples[:, 2]]))
    return {"out": str(out)}


def _pile_pairs(plan: Plan, band: int) -> Iterator[tuple[int, int]]:
    piles = range(1 << _bits(plan, band))
    for one in piles:
        yield from ((one, other) for other in piles[one:] if (one ^ other).bit_count() <= plan.flips[band])


def _bits(plan: Plan, band: int) -> int:
    return min(_PILE_BITS, plan.widths[band])


def _plan(job: Job) -> Plan:
    return Plan(job["words"], tuple(job["widths"]), tuple(job["flips"]))


def _pile(job: Job, band: int, pile: int, shard: int) -> Path:
    return part_path(Path(job["folder"]) / f"pile-{band}-{pile}", shard, "npy")


def _read(job: Job, plan: Plan, pile: int) -> tuple[Bucketed, NDArray[np.int64]]:
    """A pile in the order of its keys, and the rows over all shards."""
    parts = [np.load(_pile(job, job["band"], pile, shard)) for shard in range(job["shards"])]
    dealt: Codes = np.concatenate(parts)
    codes = np.ascontiguousarray(dealt[:, 1:])
    return bucketed(codes, plan, job["band"]), dealt[:, 0].astype(np.int64)


def _save(path: Path, array: NDArray[np.generic]) -> None:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    write_bytes(path, sink.getvalue())
