"""Merkle tree hash of RFC 9162 section 2.1 over sorted, unique SHA-256 leaves.

Sorted and unique leaves make absence provable too: two adjacent leaves around a digest show that it is not there.
"""

from collections.abc import Iterable
from hashlib import sha256 as _sha256

EMPTY_ROOT = _sha256(b"").hexdigest()


def leaf_hash(digest: bytes) -> bytes:
    """Hash of one leaf: SHA-256(0x00 || 32-byte digest)."""
    return _sha256(b"\x00" + digest).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


def leaves(digests: Iterable[str]) -> list[bytes]:
    """Sorted, unique 32-byte digests from hex digests."""
    return sorted({bytes.fromhex(digest) for digest in digests})


def merkle_root(digests: Iterable[str]) -> str:
    """Hex root over hex digests, in any order and with any repeats."""
    level = [leaf_hash(digest) for digest in leaves(digests)]
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        # An odd node moves up unchanged, which gives the same tree as RFC 9162's split at a power of two.
        level = paired + level[len(paired) * 2 :]
    return level[0].hex()
