"""Proofs about a snapshot: that a file is in it, or is not, for somebody who has nothing else of ours.

The tree's leaves are sorted and unique, so that two neighbours on either side of a digest show that it is absent. A
salted snapshot has a second tree over HMAC-SHA-256(salt, digest): its proofs tell a reader who has not been given the
salt nothing about other members.
"""

import hmac
import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import EMPTY_ROOT, leaves
from pipeline.core.merkle_proof import audit_paths, root_of_path

PROOF_TYPE = "https://imprimatur.dev/proof/v1"
LIMITS = (
    "It is about these very bytes. A re-encoded, resized or edited copy has another digest.",
    "It shows what the signer declared as the training set, not what a machine was fed.",
    "Absence rests on the tree being sorted, which only somebody with the whole list can check by building it again.",
    "It does not show that the licence or consent behind an asset is true.",
)
_LARGEST_PROOF = 1_000_000  # bytes; a real one has a few thousand


@dataclass(frozen=True)
class Checked:
    """What the check of a proof came to; `why` says what is wrong when it does not hold."""

    holds: bool
    claim: str  # included | absent
    why: str = ""


def salted_leaves(digests: Iterable[str], salt: bytes) -> list[bytes]:
    """The sorted leaves of a salted tree: HMAC-SHA-256 of each unique digest under the salt."""
    return sorted(hmac.digest(salt, digest, "sha256") for digest in leaves(digests))


def prove(digest: str, statement: dict[str, Any], digests: Iterable[str], salt: bytes = b"") -> dict[str, Any]:
    """A proof about the file with this SHA-256, as plain JSON values.

    `statement` is the payload of the snapshot's statement, `digests` are those of its assets, `salt` that of its
    salted tree. Raises ImprimaturError when the assets are not those that the statement commits to.
    """
    ordered = salted_leaves(digests, salt) if salt else leaves(digests)
    root, size = tree_of(statement, bool(salt))
    leaf = _leaf(digest, salt)
    index = bisect_left(ordered, leaf)
    included = index < len(ordered) and ordered[index] == leaf
    shown = [index] if included else [near for near in (index - 1, index) if 0 <= near < len(ordered)]
    paths = audit_paths(ordered, shown)
    proof = {
        "type": PROOF_TYPE,
        "claim": "included" if included else "absent",
        "sha256": digest,
        "tree": {"root": root, "size": size, "salted": bool(salt)},
        "leaves": [
            {"index": near, "leaf": ordered[near].hex(), "path": [node.hex() for node in paths[near]]}
            for near in shown
        ],
        "doesNotShow": list(LIMITS),
    }
    checked = check_proof(proof, digest, statement, salt)
    if not checked.holds:
        raise ImprimaturError(
            f"the snapshot's own list of assets does not give its signed root: {checked.why}",
            "restore the snapshot's folder from your backup",
        )
    return proof


def check_proof(proof: dict[str, Any], digest: str, statement: dict[str, Any], salt: bytes = b"") -> Checked:
    """Whether a proof shows its claim about the file with this SHA-256, given the verified payload of a statement.

    Everything that a path leads to is computed here; of the proof itself nothing is taken on trust.
    """
    claim = str(proof.get("claim"))
    try:
        why = _fault(proof, claim, digest, statement, salt)
    except (KeyError, TypeError, ValueError, AttributeError):
        why = "the proof is malformed"
    return Checked(not why, claim, why)


def read_proof(path: Path) -> dict[str, Any]:
    """A proof file. Raises ImprimaturError when it is none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_PROOF + 1)
        proof = json.loads(data) if len(data) <= _LARGEST_PROOF else None
    except OSError as error:
        raise ImprimaturError(f"{path}: cannot be read ({error.strerror})", "name the proof's file") from None
    except (ValueError, RecursionError):
        proof = None
    if not isinstance(proof, dict) or proof.get("type") != PROOF_TYPE:
        raise ImprimaturError(f"{path}: is no proof", "name a file that `imprimatur prove --out` wrote")
    return proof


def tree_of(statement: dict[str, Any], salted: bool) -> tuple[str, int]:
    """Root and size of the plain or the salted tree that a statement commits to. Raises ImprimaturError."""
    try:
        predicate = statement["predicate"]
        return str(predicate["salted"]["root"] if salted else predicate["root"]), int(predicate["size"])
    except (KeyError, TypeError, ValueError):
        raise ImprimaturError(
            f"the statement commits to no {'salted ' if salted else ''}tree of assets", "name a snapshot's statement"
        ) from None


def _fault(proof: dict[str, Any], claim: str, digest: str, statement: dict[str, Any], salt: bytes) -> str:
    """What is wrong with a proof, "" when it holds."""
    salted = proof["tree"]["salted"]
    if not isinstance(salted, bool):
        raise TypeError
    if proof["sha256"] != digest:
        return "the proof is about a file with other bytes"
    if salted and not salt:
        return "the tree is salted: ask the signer for the salt"
    if salted and sha256(salt) != statement["predicate"]["salted"]["saltSha256"]:
        return "this is not the salt that the statement commits to"
    root, size = tree_of(statement, salted)
    if (proof["tree"]["root"], proof["tree"]["size"]) != (root, size):
        return "the proof is about another tree than the statement's"
    leaf = _leaf(digest, salt if salted else b"")
    shown = [(one["index"], bytes.fromhex(one["leaf"])) for one in proof["leaves"]]
    if any(type(index) is not int for index, _ in shown):
        raise TypeError
    for (index, value), one in zip(shown, proof["leaves"], strict=True):
        reached = root_of_path(value, index, size, [bytes.fromhex(node) for node in one["path"]])
        if reached is None or reached.hex() != root:
            return f"the path of leaf {index} does not lead to the signed root"
    if claim == "included":
        return "" if [value for _, value in shown] == [leaf] else "the leaf shown is not this file's"
    if claim == "absent":
        return _gap_fault(shown, leaf, size, root)
    return "the proof claims neither inclusion nor absence"


def _gap_fault(shown: list[tuple[int, bytes]], leaf: bytes, size: int, root: str) -> str:
    """Absence needs the neighbours on both sides, one at either end, none in an empty tree."""
    if size == 0:
        return (
            "" if not shown and root == EMPTY_ROOT else "the tree is empty, yet its root is not that of an empty one"
        )
    below = [(index, value) for index, value in shown if value < leaf]
    above = [(index, value) for index, value in shown if value > leaf]
    if len(shown) != len(below) + len(above):
        return "the leaf shown is this file's own"
    if len(below) == len(above) == 1 and above[0][0] == below[0][0] + 1:
        return ""
    if not below and [index for index, _ in above] == [0]:
        return ""
    if not above and [index for index, _ in below] == [size - 1]:
        return ""
    return "the leaves shown are not the file's neighbours"


def _leaf(digest: str, salt: bytes) -> bytes:
    value = bytes.fromhex(digest)
    return hmac.digest(salt, value, "sha256") if salt else value
