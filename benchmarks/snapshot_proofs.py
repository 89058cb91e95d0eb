"""Proofs over one million assets: how long one takes to make and to check, and how large it is.

Peer: pymerkle (`pip install pymerkle`), an append-ordered tree: it proves inclusion and has no proof of absence. Both
build the tree of the same leaves and make one proof; CPU time, and their ratio in this run.

    python benchmarks/snapshot_proofs.py [ASSETS]
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from pipeline.core.digests import sha256
from pipeline.core.merkle import merkle_root
from pipeline.rights.proof import check_proof, prove


def timed(work: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """CPU seconds of one call, and what it returned."""
    began = time.process_time()
    for _ in range(times):
        result = work()
    return (time.process_time() - began) / times, result


def main(count: int) -> None:
    """Print the figures."""
    digests = [sha256(str(number).encode()) for number in range(count)]
    statement = {"predicate": {"root": merkle_root(digests), "size": count}}
    for name, asked in (("included", digests[count // 2]), ("absent", sha256(b"absent"))):
        making, proof = timed(lambda asked=asked: prove(asked, statement, digests))
        checking, checked = timed(lambda proof=proof, asked=asked: check_proof(proof, asked, statement), 200)
        hashes = sum(len(leaf["path"]) + 1 for leaf in proof["leaves"])
        assert checked.holds and proof["claim"] == name
        print(f"{name:<9} {count:,} assets: made in {making:.2f} s, checked in {checking * 1e6:.0f} us, "
              f"{hashes} hashes = {hashes * 32:,} bytes, {len(json.dumps(proof)):,} bytes as JSON")  # fmt: skip
        if name == "included":
            ours = making
    try:
        from pymerkle import InmemoryTree, verify_inclusion
    except ImportError:
        print("pymerkle is not installed: no comparison")
        return

    def peer() -> Any:
        tree = InmemoryTree(algorithm="sha256")
        for digest in sorted(map(bytes.fromhex, digests)):
            tree.append_entry(digest)
        proof = tree.prove_inclusion(count // 2)
        verify_inclusion(tree.get_leaf(count // 2), tree.get_root(), proof)
        return tree.get_root()

    theirs, state = timed(peer)
    assert state.hex() == statement["predicate"]["root"], "the same tree"
    print(f"pymerkle: built and proved in {theirs:.2f} s; ours / theirs {ours / theirs:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
