"""A third party checks a proof with the statement, the public key and the file, and nothing else of ours."""

import json
import shutil
from pathlib import Path

from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from tests.e2e.conftest import Finished, Studio
from tests.e2e.in_process import lines, said


def test_a_stranger_checks_inclusion_and_absence(studio: Studio, finished: Finished, tmp_path: Path) -> None:
    folder = Workspace(finished.home).snapshot(finished.outcome["snapshot"])
    selection = read_table(folder / "selection.parquet")
    used, unused = (selection[selection.selected == chosen].file.iloc[0] for chosen in (True, False))
    for name in ("statement.json", "statement.pub.pem"):
        shutil.copy(folder / name, tmp_path / name)
    given = ["--statement", str(tmp_path / "statement.json")]
    key = ["--key", str(tmp_path / "statement.pub.pem")]
    elsewhere = tmp_path / "elsewhere"
    for file, claim in ((used, "included"), (unused, "absent")):
        picture, proof = str(studio.sample / file), str(tmp_path / f"{claim}.json")
        (made,) = lines(
            "prove", "--snapshot", folder.name, "--file", picture, "--out", proof, "--home", str(finished.home)
        )
        assert made["claim"] == claim and made == json.loads(Path(proof).read_text())
        check = ["prove", "--check", proof, *given, "--home", str(elsewhere)]
        (checked,) = lines(*check, "--file", picture, *key)
        assert (checked["holds"], checked["claim"], checked["key_given"]) == (True, claim, True)
        assert checked["size"] == int(selection.selected.sum()) and len(checked["does_not_show"]) == 4
        assert not elsewhere.exists(), "checking makes no workspace"
        changed = tmp_path / "changed.png"
        changed.write_bytes(Path(picture).read_bytes() + b"\n")
        refused = said(*check, "--file", str(changed), *key)
        assert refused.code == 1 and "other bytes" in refused.out
    (alone,) = lines(*check, "--file", picture)
    assert alone["holds"] and not alone["key_given"] and "No --key was given" in alone["notes"][0]


def test_a_proof_is_worthless_under_another_key_or_statement(
    studio: Studio, finished: Finished, tmp_path: Path
) -> None:
    folder = Workspace(finished.home).snapshot(finished.outcome["snapshot"])
    picture, proof = next(studio.sample.rglob("*.png")), tmp_path / "proof.json"
    made = said("prove", "--snapshot", folder.name, "--file", str(picture), "--out", str(proof), "--home",
                      str(finished.home))  # fmt: skip
    assert made.code == 0 and "does not show" in made.err
    other = studio.folder / "other-studio"
    snapshot = ["--dataset", "sample", "--salted", "--home", str(other)]
    ingested = said("ingest", str(studio.sample), "--dataset", "sample", "--licence", "CC0-1.0", "--home",
                          str(other))  # fmt: skip
    assert ingested.code == 0, ingested.err
    (theirs,) = lines("snapshot", *snapshot)
    check = ["prove", "--check", str(proof), "--file", str(picture), "--statement"]
    key = ["--key", str(Path(theirs["statement"]).with_name("statement.pub.pem"))]
    wrong_key = said(*check, str(folder / "statement.json"), *key)
    assert wrong_key.code == 2 and "signature does not hold" in wrong_key.err
    other_statement = said(*check, theirs["statement"], *key)
    assert other_statement.code == 1 and "another tree" in other_statement.out
    nothing = said("prove", "--file", str(picture))
    assert nothing.code == 2 and "--snapshot ID" in nothing.err
    salted = tmp_path / "salted.json"
    lines("prove", "--snapshot", theirs["snapshot"], "--file", str(picture), "--out", str(salted), "--home",
                 str(other))  # fmt: skip
    check = ["prove", "--check", str(salted), "--file", str(picture), "--statement", theirs["statement"], *key]
    unsalted = said(*check)
    assert unsalted.code == 1 and "ask the signer for the salt" in unsalted.out
    (checked,) = lines(*check, "--salt", str(Path(theirs["statement"]).with_name("salt")))
    assert checked["holds"]
