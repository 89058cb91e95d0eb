"""Proofs about a snapshot: what holds, for whom, and every way to cheat that we thought of."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rights_inventory import NOW, decisions, digest, row
from test_rights_snapshot import PURPOSE, selection

from pipeline.core.digests import sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.merkle import merkle_root
from pipeline.core.workspace import Workspace
from pipeline.rights.policy import Policy
from pipeline.rights.proof import check_proof, prove, read_proof, salted_leaves
from pipeline.rights.snapshot import Snapshot, make_snapshot
from pipeline.rights.statement import read_statement

SALT = b"s" * 32
DIGESTS = [sha256(str(number).encode()) for number in range(70)]
EVERY = sorted([*DIGESTS, *(sha256(f"absent {number}".encode()) for number in range(10)), "0" * 64, "f" * 64])


def statement_of(digests: list[str], salt: bytes = SALT) -> dict[str, Any]:
    """What a snapshot's statement says about its trees."""
    salted = merkle_root(leaf.hex() for leaf in salted_leaves(digests, salt))
    predicate = {"root": merkle_root(digests), "size": len(digests)}
    return {"predicate": {**predicate, "salted": {"root": salted, "saltSha256": sha256(salt)}}}


@pytest.mark.parametrize("salt", [b"", SALT])
@pytest.mark.parametrize("size", [*range(20), 31, 32, 33, 64, 69, 70])
def test_every_file_is_proved_to_be_in_or_out(size: int, salt: bytes) -> None:
    digests = DIGESTS[:size]
    statement = statement_of(digests)
    for asked in EVERY:
        proof = json.loads(json.dumps(prove(asked, statement, digests, salt)))
        assert proof["claim"] == ("included" if asked in digests else "absent")
        checked = check_proof(proof, asked, statement, salt)
        assert checked.holds, checked.why
        wrong = "included" if proof["claim"] == "absent" else "absent"
        assert not check_proof({**proof, "claim": wrong}, asked, statement, salt).holds


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 40), st.data())
def test_no_proof_serves_for_another_file_tree_or_claim(size: int, data: st.DataObject) -> None:
    digests = DIGESTS[:size]
    asked, other = data.draw(st.sampled_from(EVERY)), data.draw(st.sampled_from(EVERY))
    proof = prove(asked, statement_of(digests), digests)
    if asked != other:
        assert not check_proof(proof, other, statement_of(digests)).holds
        moved = check_proof({**proof, "sha256": other}, other, statement_of(digests))
        truth = "included" if other in digests else "absent"
        assert not moved.holds or moved.claim == truth, "a neighbour pair may serve for all of its gap, and no more"
    longer = DIGESTS[: size + 1]
    assert not check_proof(proof, asked, statement_of(longer)).holds


def mutations(proof: Any) -> list[Any]:
    """The proof with each of its parts dropped or replaced, one at a time."""
    made: list[Any] = []
    parts = proof.items() if isinstance(proof, dict) else enumerate(proof) if isinstance(proof, list) else []
    for key, value in list(parts):
        for new in (None, 0, -1, 2**70, "", "zz", "00" * 32, [], {}, True, [[]], [{}], *mutations(value)):
            if new != value:
                changed = copy.copy(proof)
                changed[key] = new
                made.append(changed)
    return made


@pytest.mark.parametrize("asked", [DIGESTS[3], sha256(b"absent 1"), "0" * 64, "f" * 64])
def test_a_mangled_proof_is_refused_and_never_crashes(asked: str) -> None:
    digests = DIGESTS[:9]
    proof = prove(asked, statement_of(digests), digests)
    ignored = {"doesNotShow", "type"}
    bare = {name: value for name, value in proof.items() if name not in ignored}
    for mangled in mutations(bare):
        checked = check_proof(mangled, asked, statement_of(digests))
        assert not checked.holds, mangled


def test_absence_needs_both_neighbours_next_to_each_other() -> None:
    digests = sorted(DIGESTS[:9])
    statement = statement_of(digests)
    absent = next(d for d in EVERY if d not in digests and digests[2] < d < digests[6])
    proof = prove(absent, statement, digests)
    far = prove("f" * 64, statement, digests)["leaves"]
    for shown in (proof["leaves"][:1], proof["leaves"][1:], [], [proof["leaves"][0], *far], proof["leaves"] * 2):
        assert not check_proof({**proof, "leaves": shown}, absent, statement).holds


def test_a_salted_proof_needs_the_salt_and_shows_no_other_digest() -> None:
    digests = DIGESTS[:12]
    statement = statement_of(digests)
    for asked in (DIGESTS[4], sha256(b"absent 2")):
        proof = prove(asked, statement, digests, SALT)
        assert check_proof(proof, asked, statement, SALT).holds
        assert "ask the signer for the salt" in check_proof(proof, asked, statement).why
        assert "not the salt" in check_proof(proof, asked, statement, b"t" * 32).why
        assert not any(digest in json.dumps(proof) for digest in digests if digest != asked)


def snapshot(folder: Path, salted: bool) -> Snapshot:
    rows = [row(key, licence="CC0-1.0") for key in "abcde"]
    return make_snapshot(
        Workspace(folder), selection(rows), decisions(rows), PURPOSE, Policy(), NOW, NOW, "head", salted
    )


def test_a_salted_snapshot_keeps_its_plain_root_and_commits_to_its_salt(tmp_path: Path) -> None:
    plain, salted = snapshot(tmp_path / "one", False), snapshot(tmp_path / "one", True)
    assert plain.root == salted.root and plain.id != salted.id and (plain.salt, len(salted.salt)) == (b"", 32)
    assert (salted.folder / "salt").stat().st_mode & 0o777 == 0o600
    statement = read_statement(salted.statement, salted.public_key)
    assert statement["predicate"]["salted"]["saltSha256"] == sha256(salted.salt)
    asked, members = digest("c"), [digest(key) for key in "abcde"]
    assert check_proof(prove(asked, statement, members, salted.salt), asked, statement, salted.salt).holds
    assert check_proof(prove(asked, statement, members), asked, statement).holds, "the plain tree serves as well"
    assert snapshot(tmp_path / "one", True).id == salted.id, "the same assets have the same salt"
    assert snapshot(tmp_path / "two", True).salt != salted.salt, "another studio has another"


def test_a_list_that_is_not_the_signed_one_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImprimaturError, match="does not give its signed root"):
        prove(DIGESTS[0], statement_of(DIGESTS[:5]), DIGESTS[1:5])
    with pytest.raises(ImprimaturError, match="no salted tree"):
        prove(DIGESTS[0], {"predicate": {"root": "", "size": 0}}, [], SALT)


def test_a_file_that_is_no_proof_is_named(tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    for content in ("", "[]", "{}", "null", "[" * 100_000, '{"type": "https://example.org/"}', " " * 2_000_000):
        path.write_text(content)
        with pytest.raises(ImprimaturError, match=r"proof\.json: is no proof"):
            read_proof(path)
    with pytest.raises(ImprimaturError, match="cannot be read"):
        read_proof(tmp_path / "absent.json")
