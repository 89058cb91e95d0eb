"""A column of texts as numbers. Digests are random enough to be numbered by their bytes, far faster than as texts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Codes = NDArray[np.int64]
MANY = 50_000  # rows from which on a second thread, and digests as numbers, pay
DIGEST = 64  # characters of a SHA-256 in hexadecimal
_WORDS = DIGEST // 8
_ODD = np.random.default_rng(0).integers(0, 2**63, _WORDS, np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(frozen=True)
class Coded:
    """A column of texts as numbers: `values[codes[i]]` is the text of row i."""

    values: pa.StringArray
    codes: Codes

    def __len__(self) -> int:
        """How many distinct texts there are."""
        return len(self.values)

    def find(self, texts: pa.StringArray) -> Codes:
        """The code of each text, -1 where no row has it."""
        return np.asarray(pc.fill_null(pc.index_in(texts, value_set=self.values), -1), dtype=np.int64)

    def named(self, codes: Codes) -> pa.StringArray:
        """The texts of some codes."""
        return self.values.take(pa.array(codes))


@dataclass(frozen=True)
class CodedDigests:
    """The same for a column of digests, which is kept as it is: `column[first[codes[i]]]` is the text of row i."""

    column: pa.StringArray
    first: Codes
    codes: Codes

    def __len__(self) -> int:
        """How many distinct digests there are."""
        return len(self.first)

    def find(self, texts: pa.StringArray) -> Codes:
        """The code of each of some digests, -1 where no row has it."""
        own, words = _words(self.column), _words(texts)
        index = pd.Index(_mixed(own)[self.first])
        found: Codes = index.get_indexer(pd.Index(_mixed(words))).astype(np.int64)
        hit = np.flatnonzero(found >= 0)
        found[hit[~_same(own, self.first[found[hit]], words, hit)]] = -1
        return found

    def named(self, codes: Codes) -> pa.StringArray:
        """The digests of some codes."""
        return self.column.take(pa.array(self.first[codes]))


def coded(column: pa.StringArray) -> Coded:
    """A column as numbers."""
    encoded = pc.dictionary_encode(column)
    return Coded(encoded.dictionary, np.asarray(encoded.indices, dtype=np.int64))


def coded_digests(column: pa.StringArray) -> Coded | CodedDigests:
    """A column as numbers, which holds digests for the most part."""
    if len(column) < MANY or not pc.all(pc.equal(pc.binary_length(column), DIGEST)).as_py():
        return coded(column)
    words = _words(column)
    codes, distinct = pd.factorize(_mixed(words))
    first = np.full(len(distinct), len(column))
    np.minimum.at(first, codes, np.arange(len(column)))
    again = np.flatnonzero(first[codes] != np.arange(len(column)))
    if not _same(words, first[codes[again]], words, again).all():  # two digests were made to share a number
        return coded(column)
    return CodedDigests(column, first, codes.astype(np.int64))


def digest_numbers(digests: pa.StringArray) -> NDArray[np.uint64]:
    """A number for each text of 64 characters: equal ones have equal numbers, others hardly ever."""
    return _mixed(_words(digests))


def _words(digests: pa.StringArray) -> NDArray[np.uint64]:
    """The bytes of texts of 64 characters as numbers, 8 each."""
    start = digests.offset
    offsets = np.frombuffer(digests.buffers()[1], np.int32)[start : start + len(digests) + 1]
    data = np.frombuffer(digests.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return data.view(np.uint64).reshape(-1, _WORDS)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One number of 64 bits for each digest."""
    mixed, product = np.zeros(len(words), np.uint64), np.empty(len(words), np.uint64)
    for place in range(_WORDS):
        mixed += np.multiply(words[:, place], _ODD[place], out=product)
    return mixed


def _same(words: NDArray[np.uint64], some: Codes, others: NDArray[np.uint64], rows: Codes) -> NDArray[np.bool_]:
    """Whether rows of one column equal rows of another."""
    differing = np.take(words, some, axis=0) != np.take(others, rows, axis=0)
    same: NDArray[np.bool_] = ~differing.any(axis=1)
    return same
