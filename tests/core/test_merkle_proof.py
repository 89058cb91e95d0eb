"""Audit paths against the recursive definitions of RFC 9162, and what they refuse."""

import hashlib

import pytest

from pipeline.core.digests import sha256
from pipeline.core.merkle import EMPTY_ROOT, leaves, merkle_root
from pipeline.core.merkle_proof import audit_paths, root_of_path

DIGESTS = [sha256(str(number).encode()) for number in range(70)]


def split(size: int) -> int:
    """The largest power of two smaller than size."""
    return 1 << (size - 1).bit_length() - 1


def tree_hash(values: list[bytes]) -> bytes:
    """MTH of section 2.1.1, as written there."""
    if len(values) <= 1:
        return hashlib.sha256(b"\x00" + values[0] if values else b"").digest()
    k = split(len(values))
    return hashlib.sha256(b"\x01" + tree_hash(values[:k]) + tree_hash(values[k:])).digest()


def path(m: int, values: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1, as written there."""
    if len(values) == 1:
        return []
    k = split(len(values))
    if m < k:
        return [*path(m, values[:k]), tree_hash(values[k:])]
    return [*path(m - k, values[k:]), tree_hash(values[:k])]


@pytest.mark.parametrize("size", range(71))
def test_paths_and_roots_are_those_of_the_recursive_definition(size: int) -> None:
    values = leaves(DIGESTS[:size])
    root = tree_hash(values)
    assert root.hex() == merkle_root(DIGESTS[:size])
    paths = audit_paths(values, range(size))
    for index in range(size):
        assert paths[index] == path(index, values)
        assert root_of_path(values[index], index, size, paths[index]) == root
    assert size or root.hex() == EMPTY_ROOT


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 33])
def test_a_path_proves_one_leaf_at_one_place_only(size: int) -> None:
    values = leaves(DIGESTS[:size])
    root, paths = tree_hash(values), audit_paths(values, range(size))
    for index in range(size):
        for other in range(-1, size + 2):
            if other != index:
                assert root_of_path(values[index], other, size, paths[index]) != root
        assert root_of_path(bytes(32), index, size, paths[index]) != root
        assert root_of_path(values[index], index, size, [*paths[index], bytes(32)]) is None
        if paths[index]:
            assert root_of_path(values[index], index, size, paths[index][:-1]) != root
            assert root_of_path(values[index], index, size, [bytes(32), *paths[index][1:]]) != root
