"""The chain walked down to what is on disk: weights, signed statement, Merkle root, ledger; each break is named."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from credentials_studio import WHEN, picture
from safetensors.numpy import save_file

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent, append_events, ledger_head
from pipeline.catalog.records import record_model
from pipeline.catalog.tables import DECISIONS, SELECTION
from pipeline.core.digests import file_sha256, sha256
from pipeline.core.settings import CredentialSettings
from pipeline.core.shards import read_table, write_table
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import Identity, ensure_identity
from pipeline.credentials.manifest import OutputFacts
from pipeline.credentials.sidecars import read_sidecar, sidecar_path, sign_model, sign_snapshot
from pipeline.credentials.stamp import stamp
from pipeline.credentials.verify import Verification, verify
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy
from pipeline.rights.snapshot import Snapshot, make_snapshot

WHOLE = ["output", "model", "weights", "snapshot", "statement", "assets", "ledger"]


@dataclass(frozen=True)
class House:
    """A workspace with a ledger, a signed snapshot, a signed model, and a picture stamped as that model's."""

    workspace: Workspace
    identity: Identity
    settings: CredentialSettings
    snapshot: Snapshot
    weights: Path
    output: Path

    def verify(self, path: Path | None = None) -> Verification:
        key = self.identity.watermark_key
        return verify(path or self.output, [self.identity.anchors_pem], self.workspace, key)

    def stamped(self, name: str, model: str = "m1", **changes: str) -> Path:
        facts = OutputFacts(
            f"{name}.png", WHEN, "night", 1, model=model, model_sha256=file_sha256(self.weights),
            snapshot=self.snapshot.id, snapshot_root=self.snapshot.root, verdict="pass",
        )  # fmt: skip
        link = read_sidecar(self.weights, self.identity.anchors_pem)
        settings = self.settings.model_copy(update=changes)
        stamped = stamp(picture(1), facts, link, self.identity, settings)
        assert stamped.reasons == (), stamped.detail
        path = self.workspace.home / f"{name}.png"
        path.write_bytes(stamped.data)
        return path


def grant(number: int) -> ConsentEvent:
    return ConsentEvent(
        f"e{number}", WHEN, WHEN, "", "holder", "holder", "mira", "grant", "*", "any", "*", "no", "letter", ""
    )


def snapshot_of(workspace: Workspace, count: int) -> Snapshot:
    """A snapshot of made-up assets: only their digests matter here."""
    assets = [sha256(b"asset %d" % number) for number in range(count)]
    selection = pd.DataFrame({name: [""] * count for name in SELECTION.names})
    selection = selection.assign(asset=assets, selected=True, group=-1, offset=0, length=0, decision="allow")
    selection["holders"] = [["mira"]] * count
    decisions = pd.DataFrame({name: [""] * count for name in DECISIONS.names}).assign(asset=assets, decision="allow")
    for name in ("reasons", "evidence", "obligations", "holders"):
        decisions[name] = [[]] * count
    head = ledger_head(open_catalog(workspace), WHEN)
    purpose = parse_purpose("train_generative:commercial")
    return make_snapshot(workspace, selection, decisions, purpose, Policy(), WHEN, WHEN, head)


def signed_model(
    workspace: Workspace, identity: Identity, snapshot: Snapshot, model: str, seed: int, base: Path | None = None
) -> Path:
    weights = workspace.model(model) / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    save_file({"w": np.random.default_rng(seed).normal(size=(8, 8)).astype(np.float32)}, weights)
    digest = file_sha256(weights)
    record_model(
        open_catalog(workspace), id=model, key=sha256(model.encode()), kind="gan", snapshot=snapshot.id,
        root=snapshot.root, weights_sha256=digest, trained_at=WHEN,
    )  # fmt: skip
    facts = {"kind": "gan", "snapshot": snapshot.id, "root": snapshot.root, "weights_sha256": digest}
    sign_model(weights, snapshot.statement, identity, model=model, facts=facts, when=WHEN, base=base)
    return weights


@pytest.fixture
def house(tmp_path: Path) -> House:
    workspace, settings = Workspace(tmp_path / "home"), CredentialSettings()
    identity = ensure_identity(settings, workspace)
    append_events(open_catalog(workspace), [grant(1), grant(2)])
    snapshot = snapshot_of(workspace, 5)
    sign_snapshot(snapshot.statement, identity, snapshot=snapshot.id, root=snapshot.root, size=5, when=WHEN)
    weights = signed_model(workspace, identity, snapshot, "m1", 1)
    made = House(workspace, identity, settings, snapshot, weights, tmp_path)
    return replace(made, output=made.stamped("output"))


def test_a_whole_chain_is_walked_down_to_the_ledger(house: House) -> None:
    found = house.verify()
    assert [(link.link, link.state) for link in found.chain] == [(name, "valid") for name in WHOLE]
    assert (found.broken_at, found.sound) == ("", True)
    details = {link.link: link.detail for link in found.chain}
    assert details["weights"] == f"sha256 {file_sha256(house.weights)}"
    assert details["statement"] == f"root {house.snapshot.root}"
    assert details["assets"] == "5 assets give the signed root"
    assert details["ledger"] == f"head {ledger_head(open_catalog(house.workspace), WHEN)}"
    assert json.loads(json.dumps(found.as_json()))["broken_at"] == ""


def swapped_weights(house: House) -> None:
    save_file({"w": np.zeros((8, 8), np.float32)}, house.weights)


def altered_list(house: House) -> None:
    path = house.snapshot.selection
    table = read_table(path)
    table.loc[0, "asset"] = sha256(b"somebody else's")
    write_table(path, table, SELECTION)


def ruined_list(house: House) -> None:
    house.snapshot.selection.write_bytes(b"PAR1 and nothing else")


def other_statement(house: House) -> None:
    """Another snapshot's statement, signed by the same studio, in this one's place."""
    other = snapshot_of(house.workspace, 3)
    house.snapshot.statement.write_bytes(other.statement.read_bytes())


def altered_statement(house: House) -> None:
    envelope = json.loads(house.snapshot.statement.read_text())
    envelope["payload"] = envelope["payload"][:-8] + "AAAAAAA="
    house.snapshot.statement.write_text(json.dumps(envelope))


def rewritten_ledger(house: House) -> None:
    """Somebody with the database file rewrites history, past the triggers."""
    with open_catalog(house.workspace).begin() as connection:
        triggers = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'").scalars().all()
        for trigger in triggers:
            connection.exec_driver_sql(f"drop trigger {trigger}")
        connection.exec_driver_sql("update consent_events set uses = 'train_other' where event_id = 'e1'")


def shortened_ledger(house: House) -> None:
    with open_catalog(house.workspace).begin() as connection:
        triggers = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'").scalars().all()
        for trigger in triggers:
            connection.exec_driver_sql(f"drop trigger {trigger}")
        connection.exec_driver_sql("delete from consent_events where event_id = 'e2'")


BREAKS: dict[str, tuple[Callable[[House], None], str, str]] = {
    "swapped weights": (swapped_weights, "weights", "not those that were signed"),
    "an altered list of assets": (altered_list, "assets", "does not give the signed root"),
    "a ruined list of assets": (ruined_list, "assets", "cannot be read"),
    "another statement": (other_statement, "statement", "another root"),
    "an altered statement": (altered_statement, "statement", "signature does not hold"),
    "a rewritten ledger": (rewritten_ledger, "ledger", "breaks at event e1"),
    "a shortened ledger": (shortened_ledger, "ledger", "not in the ledger"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_link_at_which_the_chain_breaks_is_named(house: House, what: str) -> None:
    break_it, link, words = BREAKS[what]
    break_it(house)
    found = house.verify()
    assert found.state == "Trusted"  # the file itself is as it was
    assert (found.broken_at, found.sound) == (link, False)
    assert words in next(each.detail for each in found.chain if each.link == link)


def test_what_is_not_at_hand_is_unchecked_and_not_broken(house: House) -> None:
    house.weights.unlink()
    house.snapshot.selection.unlink()
    found = house.verify()
    states = {link.link: link.state for link in found.chain}
    assert (states["weights"], states["assets"]) == ("unchecked", "unchecked")
    assert found.broken_at == ""


def test_without_the_workspace_the_manifests_alone_are_shown(house: House) -> None:
    chain = verify(house.output, [house.identity.anchors_pem]).chain
    assert [(link.link, link.state) for link in chain] == [
        ("output", "valid"), ("model", "valid"), ("snapshot", "valid"),
    ]  # fmt: skip
    assert {link.state for link in verify(house.output).chain} == {"untrusted"}


def test_a_linked_chain_is_followed_by_the_digest_that_it_names(house: House) -> None:
    path = house.stamped("linked", chain="linked", chain_url="https://studio.example/models")
    assert [link.state for link in verify(path, [house.identity.anchors_pem]).chain] == ["valid", "linked"]
    found = house.verify(path)
    assert [(link.link, link.state) for link in found.chain] == [(name, "valid") for name in WHOLE]
    sidecar_path(house.weights).write_bytes(b"another credential")
    found = house.verify(path)
    assert found.broken_at == "model"
    assert found.chain[-1].detail == "the model's credential is not the one named"


def test_an_output_that_names_other_weights_than_its_model_is_broken_there(house: House) -> None:
    """The output is stamped with one model's credential and another model's digest."""
    facts = OutputFacts("a.png", WHEN, "night", 2, model="m1", model_sha256="ab" * 32)
    link = read_sidecar(house.weights, house.identity.anchors_pem)
    house.output.write_bytes(stamp(picture(2), facts, link, house.identity, house.settings).data)
    found = house.verify()
    assert (found.state, found.broken_at) == ("Trusted", "model")
    assert found.chain[1].detail == "the link before names another weights' digest"


def test_a_model_signed_over_a_broken_snapshot_is_not_believed(house: House) -> None:
    """The ingredient's own record of what failed when it was taken over counts: a reader repeats only the news."""
    sidecar = read_sidecar(house.weights, house.identity.anchors_pem)
    failed = {"code": "assertion.dataHash.mismatch", "url": f"self#jumbf=/c2pa/{sidecar.active_manifest}"}
    results = json.loads(json.dumps(sidecar.validation_results))
    results["activeManifest"]["failure"] = [failed]
    facts = OutputFacts("a.png", WHEN, "night", 3)
    link = replace(sidecar, validation_results=results)
    house.output.write_bytes(stamp(picture(3), facts, link, house.identity, house.settings).data)
    assert house.verify().broken_at == "model"


def test_a_fine_tuned_model_carries_its_base_and_both_are_walked(house: House) -> None:
    tuned = signed_model(house.workspace, house.identity, house.snapshot, "m2", 2, base=house.weights)
    path = replace(house, weights=tuned).stamped("tuned", model="m2")
    found = house.verify(path)
    expected = [*WHOLE, *(f"base {name}" for name in WHOLE[1:])]
    assert [(link.link, link.state) for link in found.chain] == [(name, "valid") for name in expected]
    titles = {link.link: link.title for link in found.chain}
    assert (titles["model"], titles["base model"]) == ("model m2", "model m1")
    save_file({"w": np.zeros((8, 8), np.float32)}, house.weights)
    assert house.verify(path).broken_at == "base weights"


@pytest.mark.parametrize("which", ["weights", "statement"])
def test_a_model_and_a_statement_verify_by_the_credential_beside_them(house: House, which: str) -> None:
    path = house.weights if which == "weights" else house.snapshot.statement
    found = house.verify(path)
    assert (found.state, found.broken_at, found.codes) == ("Trusted", "", ["manifest.sidecar"])
    assert [link.link for link in found.chain] == (WHOLE[1:] if which == "weights" else WHOLE[3:])
    path.write_bytes(path.read_bytes() + b"\0")
    found = house.verify(path)
    assert (found.state, found.intact) == ("Invalid", False)
    assert found.broken_at == {"weights": "model", "statement": "snapshot"}[which]
