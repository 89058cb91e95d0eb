"""Commands for third parties: prove."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Home, Json, emit, errors
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

app = typer.Typer()


@app.command()
def prove(
    file: Annotated[Path, typer.Option("--file", help="The file asked about, byte for byte.")],
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Make a proof about this snapshot.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the proof here.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Of a salted snapshot: use its plain tree.")] = False,
    proof: Annotated[Path | None, typer.Option("--check", help="Check this proof instead.")] = None,
    statement: Annotated[Path | None, typer.Option("--statement", help="To check: the snapshot's statement.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="To check: the signer's public key, from them.")] = None,
    salt: Annotated[Path | None, typer.Option("--salt", help="To check a salted proof: the signer's salt.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Prove that a file is in a snapshot or is not; or check such a proof, with no workspace at hand."""
    from flows.commands.proofs import check, make_proof

    if (snapshot is None) == (proof is None) or (proof is not None and statement is None):
        raise ImprimaturError("prove: what?", "give --snapshot ID, or --check PROOF --statement STATEMENT")
    if proof is not None and statement is not None:
        checked = check(proof, file, statement, key, salt)
        emit(checked, as_json, _told(checked))
        if not checked["holds"]:
            sys.exit(1)
    elif snapshot is not None:
        made = make_proof(Workspace.at(home), snapshot, file, plain, out)
        emit(made, as_json, f"proof in {out}" if out else json.dumps(made, indent=2))
        verb = "is in" if made["claim"] == "included" else "is not in"
        errors.print(f"{file} {verb} snapshot {snapshot}; what this does not show:", markup=False)
        for limit in made["doesNotShow"]:
            errors.print(f"  - {limit}", markup=False)


def _told(checked: dict[str, object]) -> str:
    if not checked["holds"]:
        return f"DOES NOT HOLD: {checked['why']}"
    verb = "is one of" if checked["claim"] == "included" else "is not among"
    notes = [*checked["notes"], *checked["does_not_show"]]  # type: ignore[misc]
    lines = [
        f"HOLDS: {checked['file']} {verb} the {checked['size']} assets that the statement commits to",
        f"  for {checked['purpose']}, as of {checked['as_of']}, known at {checked['known_at']}",
        f"  signed with the key of SHA-256 {checked['key_sha256']}",
        *(f"  - {note}" for note in notes),
    ]
    return "\n".join(lines)
