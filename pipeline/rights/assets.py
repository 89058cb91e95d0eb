"""The inventory by column: its rows, what they share, and what a reference to an asset fits."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rights.coded import DIGEST, Coded, Codes, coded, coded_digests

TEXTS = ("file", "status", "asset", "sha256", "pixels", "key", "licence", "signals", "attribution")
LISTS = ("holders", "depicts", "derived_from")
COLUMNS = (*TEXTS, *LISTS)  # what the decision needs of tables.INVENTORY
_KEPT = ("dataset", "file", "key", "licence", "signals", "attribution")
_FEW = 50
_BETWEEN = "\x1f"  # joins the parts of a list into one text


class AssetRow(NamedTuple):
    """What the decision needs of one inventory row."""

    dataset: str
    file: str
    accepted: bool
    identity: str  # sha256 of the bytes, else something unique to the row
    pixels: str
    key: str
    licence: str
    holders: tuple[str, ...]
    depicts: tuple[str, ...]
    derived_from: tuple[str, ...]
    signals: str
    attribution: str


class Assets:
    """An inventory's rows (COLUMNS of tables.INVENTORY, and `dataset`)."""

    def __init__(self, table: pa.Table) -> None:
        self.size = table.num_rows
        self.identity = coded_digests(_or_number(first_filled(table, "asset", "sha256")))
        self.pixels = coded_digests(_or_number(first_filled(table, "pixels")))
        self.accepted = np.asarray(pc.equal(table["status"], "accepted"))
        self.holders: pa.ListArray = whole(table["holders"].cast(pa.list_(pa.string())))
        self._columns = {name: filled(table[name]) for name in _KEPT} | {name: _joined(table[name]) for name in LISTS}

    def column(self, name: str) -> pa.StringArray:
        """A column as texts; lists are joined."""
        return self._columns[name]

    @cached_property
    def key(self) -> Coded:
        """The key of each row."""
        return coded(self.column("key"))

    @cached_property
    def dataset(self) -> Coded:
        """The dataset of each row."""
        return coded(self.column("dataset"))

    def coded(self, name: str) -> Coded:
        """A column as numbers."""
        return self.dataset if name == "dataset" else self.key if name == "key" else coded(self.column(name))

    def rows(self, numbers: Codes | Sequence[int]) -> list[AssetRow]:
        """Some rows as objects."""
        numbers = np.asarray(numbers, dtype=np.int64)
        where = pa.array(numbers)
        columns = {name: column.take(where).to_pylist() for name, column in self._columns.items()}
        lists = {name: [parts(text) for text in columns[name]] for name in LISTS}
        identities = self.identity.named(self.identity.codes[numbers]).to_pylist()
        pixels = self.pixels.named(self.pixels.codes[numbers]).to_pylist()
        columns |= lists | {"accepted": self.accepted[numbers].tolist(), "identity": identities, "pixels": pixels}
        return list(map(AssetRow._make, zip(*(columns[name] for name in AssetRow._fields), strict=True)))


def inventory_table(inventory: pd.DataFrame) -> pa.Table:
    """The columns that the decision needs of an inventory, as an Arrow table."""
    texts = {name: pa.array(inventory[name], pa.string(), from_pandas=True) for name in ("dataset", *TEXTS)}
    lists = {name: pa.array(map(_list, inventory[name]), pa.list_(pa.string())) for name in LISTS}
    return pa.table(texts | lists)


def parts(text: str) -> tuple[str, ...]:
    """The parts of a list that was joined into one text."""
    return tuple(text.split(_BETWEEN)) if text else ()


def is_digest(texts: pa.StringArray) -> pa.BooleanArray:
    """Which texts are SHA-256 digests in hexadecimal, as references are compared."""
    as_long = pc.equal(pc.binary_length(texts), DIGEST)
    return pc.match_substring_regex(texts, "^[0-9a-f]{64}$") if as_long.true_count else as_long


def tidy(references: pa.StringArray) -> pa.StringArray:
    """References as they are compared: no outer spaces, digests in lower case."""
    odd = pc.match_substring_regex(references, "[^\\x21-\\x7e]|[A-F]")  # few can need it, and they are quickly found
    if not odd.true_count:
        return references
    trimmed = pc.utf8_trim_whitespace(references.filter(odd))
    digest = pc.match_substring_regex(trimmed, "^[0-9A-Fa-f]{64}$")
    return pc.replace_with_mask(references, odd, pc.if_else(digest, pc.ascii_lower(trimmed), trimmed))


def tidy_text(reference: str) -> str:
    """The same for one reference."""
    text = reference.strip()
    return text.lower() if re.fullmatch("[0-9A-Fa-f]{64}", text) else text


def combine(*codes: Codes) -> tuple[Codes, Codes]:
    """Number the distinct combinations: (a row of each combination, the combination of each row)."""
    if len(codes[0]) < _FEW:  # a dict is quicker to set up
        numbers: dict[tuple[int, ...], int] = {}
        found = [numbers.setdefault(one, len(numbers)) for one in zip(*(c.tolist() for c in codes), strict=True)]
        first_few = [found.index(number) for number in range(len(numbers))]
        return np.array(first_few, dtype=np.int64), np.array(found, dtype=np.int64)
    combined = np.zeros(len(codes[0]), dtype=np.int64)
    for column in codes:
        combined, distinct = pd.factorize(combined * (int(column.max(initial=0)) + 1) + column)
    first = np.zeros(len(distinct), dtype=np.int64)
    first[combined[::-1]] = np.arange(len(combined))[::-1]
    return first, combined


def filled(column: pa.ChunkedArray) -> pa.StringArray:
    """A column in one piece, "" where it has nothing."""
    texts = whole(column.cast(pa.string()))
    return pc.fill_null(texts, "") if texts.null_count else texts


def _joined(column: pa.ChunkedArray) -> pa.StringArray:
    return pc.fill_null(whole(pc.binary_join(column.cast(pa.list_(pa.string())), _BETWEEN)), "")


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def first_filled(table: pa.Table, *names: str) -> pa.StringArray:
    """Of each row the first of these texts that is not empty, null where none is."""
    found = filled(table[names[0]])
    for name in names[1:]:
        if (empty := pc.equal(found, "")).true_count:
            found = pc.if_else(empty, filled(table[name]), found)
    return pc.if_else(empty, None, found) if (empty := pc.equal(found, "")).true_count else found


def _or_number(texts: pa.StringArray) -> pa.StringArray:
    """What is missing is unlike all others."""
    if not texts.null_count:
        return texts
    numbers = pc.utf8_lpad(pa.array(np.arange(len(texts))).cast(pa.string()), 60)
    return pc.coalesce(texts, pc.binary_join_element_wise("row", numbers, " "))  # as long as a digest


def _list(value: Iterable[str] | None) -> list[str]:
    return list(value) if value is not None and not isinstance(value, str | float) else []
