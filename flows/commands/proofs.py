"""Proofs: made in a workspace, checked by anybody anywhere."""

from pathlib import Path
from typing import Any

from pipeline.core.digests import file_sha256, sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import read_table, write_json
from pipeline.core.workspace import Workspace
from pipeline.rights.proof import check_proof, prove, read_proof
from pipeline.rights.snapshot import load_snapshot
from pipeline.rights.statement import read_statement, verified_payload

Row = dict[str, Any]
_OWN_KEY = "No --key was given: the key came with the proof. Compare its SHA-256 with one that the signer published."


def make_proof(workspace: Workspace, snapshot: str, file: Path, plain: bool, out: Path | None) -> Row:
    """Prove that a file is in a snapshot, or is not; over its salted tree where it has one, unless `plain`."""
    chosen = load_snapshot(workspace, snapshot)
    statement = read_statement(chosen.statement, chosen.public_key)
    selection = read_table(chosen.selection, ["asset", "selected"])
    members = selection.asset[selection.selected]
    salt = b"" if plain else chosen.salt
    proof = prove(_digest(file), statement, members, salt)
    made = {**proof, "snapshot": chosen.id, "publicKey": chosen.public_key.read_text()}
    if out is not None:
        write_json(out, made)
    return made


def check(proof_file: Path, file: Path, statement_file: Path, key: Path | None, salt_file: Path | None) -> Row:
    """Check a proof with nothing but the statement, the signer's public key and the file (and the salt, if any)."""
    proof = read_proof(proof_file)
    if key is not None:
        pem, payload = key.read_bytes() if key.exists() else b"", read_statement(statement_file, key)
    else:
        pem = str(proof.get("publicKey", "")).encode()
        payload = verified_payload(statement_file, pem, f"{proof_file}: publicKey")
    digest = _digest(file)
    checked = check_proof(proof, digest, payload, _salt(salt_file))
    predicate = payload.get("predicate", {})
    known = {name: predicate.get(field) for name, field in _SAID.items()}
    notes = [] if key is not None else [_OWN_KEY]
    return {
        "holds": checked.holds,
        "claim": checked.claim,
        "why": checked.why,
        "file": str(file),
        "sha256": digest,
        **known,
        "key_sha256": sha256(pem),
        "key_given": key is not None,
        "notes": notes,
        "does_not_show": [str(limit) for limit in proof.get("doesNotShow", [])],
    }


_SAID = {"root": "root", "size": "size", "purpose": "purpose", "as_of": "asOf", "known_at": "knownAt"}


def _digest(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise ImprimaturError(f"{file}: cannot be read ({error.strerror})", "name the file asked about") from None


def _salt(file: Path | None) -> bytes:
    try:
        return file.read_bytes() if file else b""
    except OSError as error:
        raise ImprimaturError(f"{file}: cannot be read ({error.strerror})", "name the salt's file") from None
