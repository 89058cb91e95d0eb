"""Merkle audit paths of RFC 9162 section 2.1.3: a few hundred bytes that tie one leaf to a root."""

from collections.abc import Iterable, Sequence

from pipeline.core.merkle import leaf_hash, node_hash


def audit_paths(leaves: Sequence[bytes], indices: Iterable[int]) -> dict[int, list[bytes]]:
    """The audit path of each index: the hashes beside its way to the root, lowest first (section 2.1.3.1).

    `leaves` are the tree's 32-byte leaf values in order. One pass over the tree serves all indices.
    """
    paths: dict[int, list[bytes]] = {index: [] for index in indices}
    place = {index: index for index in paths}
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        for index, path in paths.items():
            sibling = place[index] ^ 1
            if sibling < len(level):  # the odd node at the end moves up alone
                path.append(level[sibling])
            place[index] //= 2
        pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return paths


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from a 32-byte leaf value, None when it does not fit the tree (section 2.1.3.2).

    A path proves membership at exactly this index of a tree of exactly this size when the result is the tree's root.
    """
    if not 0 <= index < size:
        return None
    place, last, reached = index, size - 1, leaf_hash(leaf)
    for sibling in path:
        if last == 0:
            return None
        if place % 2 or place == last:
            reached = node_hash(sibling, reached)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            reached = node_hash(reached, sibling)
        place, last = place // 2, last // 2
    return reached if last == 0 else None
