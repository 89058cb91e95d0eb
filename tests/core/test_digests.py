"""Digests, moments and the Merkle root: how things are named so that others can check."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.digests import canonical_json, pixel_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import EMPTY_ROOT, leaf_hash, merkle_root, node_hash
from pipeline.core.moments import format_moment, parse_moment

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


def rfc9162_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, as it is written there."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(rfc9162_root(leaves[:split]), rfc9162_root(leaves[split:]))


@given(st.lists(digests, min_size=1, max_size=70))
def test_root_is_that_of_rfc_9162_over_sorted_unique_digests(values: list[str]) -> None:
    expected = rfc9162_root(sorted({bytes.fromhex(value) for value in values})).hex()
    assert merkle_root(values) == merkle_root(reversed(values)) == merkle_root(values * 2) == expected


def test_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert merkle_root([]) == EMPTY_ROOT == hashlib.sha256().hexdigest()


@given(st.lists(digests, min_size=1, max_size=20, unique=True), digests)
def test_one_more_asset_is_another_root(values: list[str], more: str) -> None:
    assert (merkle_root([*values, more]) == merkle_root(values)) == (more in values)


def test_pixel_digest_tells_shapes_apart() -> None:
    wide = np.zeros((2, 8, 3), np.uint8)
    assert pixel_digest(wide) != pixel_digest(wide.reshape(8, 2, 3))
    assert pixel_digest(wide) == pixel_digest(wide[:, ::-1])


def test_canonical_json_orders_keys() -> None:
    assert canonical_json({"b": 1, "a": [True, None, "ü"]}) == '{"a":[true,null,"ü"],"b":1}'.encode()


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC)))
def test_moments_round_trip_and_sort_as_text(moment: datetime) -> None:
    text = format_moment(moment)
    assert parse_moment(text) == text
    assert (text < parse_moment("2026-01-01")) == (moment < datetime(2026, 1, 1, tzinfo=UTC))


def test_time_zones_are_turned_to_utc() -> None:
    assert parse_moment("2026-11-24T02:00:00+02:00") == "2026-11-24T00:00:00.000000Z"


def test_a_wrong_moment_names_its_field() -> None:
    with pytest.raises(ImprimaturError, match="as-of: 'yesterday' is not a date"):
        parse_moment("yesterday", "as-of")
