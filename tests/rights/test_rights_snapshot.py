import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rights_inventory import NOW, decisions, digest, event, row

from pipeline.core.errors import ImprimaturError, NeedsPerson
from pipeline.core.merkle import merkle_root
from pipeline.core.settings import DuplicateSettings
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.rights.findings import parse_purpose
from pipeline.rights.policy import Policy, policy_digest
from pipeline.rights.selection import select
from pipeline.rights.snapshot import Snapshot, load_snapshot, make_snapshot
from pipeline.rights.statement import public_key_path, read_statement, statement_signer

PURPOSE = parse_purpose("train_generative:commercial")


def fingerprints(rows: list[dict[str, Any]], looks: dict[str, int]) -> pd.DataFrame:
    """Random pictures; files with the same number in `looks` look the same."""
    made = []
    for number, one in enumerate(rows):
        random = np.random.default_rng(looks.get(one["key"], 1000 + number))
        thumbnail = np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        made.append(
            {"asset": one["asset"], "phash": random.bytes(32), "flatness": 60.0, "thumbnail": thumbnail.tobytes()}
        )
    return pd.DataFrame(made)


def selection(rows: list[dict[str, Any]], looks: dict[str, int] | None = None, **question: Any) -> pd.DataFrame:
    return select(
        pd.DataFrame(rows), decisions(rows, **question), fingerprints(rows, looks or {}), DuplicateSettings()
    )


def snapshot(workspace: Workspace, rows: list[dict[str, Any]]) -> Snapshot:
    return make_snapshot(workspace, selection(rows), decisions(rows), PURPOSE, Policy(), NOW, NOW, "head")


def test_one_row_for_each_asset_with_its_worst_decision() -> None:
    same = {"asset": digest("a"), "pixels": digest("pixels a")}
    table = selection(
        [row("a", licence="CC0-1.0"), row("b", licence="CC-BY-NC-4.0", **same), row("c", licence="MIT", label="x")]
    )
    assert table["file"].tolist() == ["a.png", "c.png"]
    assert table["decision"].tolist() == ["deny", "allow"]
    assert table["selected"].tolist() == [False, True]
    assert table["reason"].tolist() == ["RELATIVE_TERMS", ""]


def test_the_first_of_a_free_group_represents_it() -> None:
    rows = [row(key, licence="CC0-1.0") for key in "abc"]
    table = selection(rows, {"a": 1, "c": 1})
    assert table["reason"].tolist() == ["", "", "DUPLICATE"]
    assert table["group"].tolist()[0] == table["group"].tolist()[2] >= 0 > table["group"].tolist()[1]


def test_a_group_is_only_as_free_as_its_least_free_member() -> None:
    rows = [row("a", licence="CC0-1.0"), row("b", licence="CC0-1.0"), row("c", licence="CC-BY-NC-4.0")]
    table = selection(rows, {"a": 1, "b": 1, "c": 1})
    assert table["reason"].tolist() == ["GROUP_NOT_FREE", "GROUP_NOT_FREE", "LICENCE_NONCOMMERCIAL"]
    assert not table["selected"].any()


def test_a_picture_near_a_forbidden_one_is_out_even_where_another_picture_leads_the_group() -> None:
    rows = [row("a", licence="CC0-1.0"), row("b", licence="CC-BY-NC-4.0"), row("c", licence="CC0-1.0")]
    prints = fingerprints(rows, {"a": 1, "b": 1, "c": 1})
    steps = []
    for patch, packed in zip((-9, 0, 9), prints["thumbnail"], strict=True):  # b is like a and like c, a is not like c
        shown = np.frombuffer(packed, np.uint8).reshape(32, 32, 3).clip(10, 240).astype(int)
        shown[8:16, 8:16] += patch
        steps.append(shown.astype(np.uint8).tobytes())
    table = select(pd.DataFrame(rows), decisions(rows), prints.assign(thumbnail=steps), DuplicateSettings())
    assert table["group"].tolist() == [0, 0, -1]
    assert table["reason"].tolist() == ["GROUP_NOT_FREE", "LICENCE_NONCOMMERCIAL", "GROUP_NOT_FREE"]


def test_rejected_files_are_not_selected() -> None:
    table = selection([row("a", licence="MIT"), row("b", status="rejected", asset="", pixels="")])
    assert table["file"].tolist() == ["a.png"]


def test_a_snapshot_commits_to_its_assets_in_a_signed_statement(tmp_path: Path) -> None:
    rows = [row("a", licence="CC-BY-4.0"), row("b", licence="CC0-1.0"), row("c")]
    made = snapshot(Workspace(tmp_path), rows)
    payload = read_statement(made.statement, made.public_key)
    root = merkle_root([digest("a"), digest("b")])
    assert made.root == payload["predicate"]["root"] == payload["subject"][0]["digest"]["sha256"] == root
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    predicate = payload["predicate"]
    assert (predicate["size"], predicate["asOf"], predicate["knownAt"]) == (2, NOW, NOW)
    assert (predicate["purpose"], predicate["ledgerHead"]) == ("train_generative:commercial", "head")
    assert predicate["policySha256"] == policy_digest(Policy())
    assert predicate["reasons"] == {"LICENCE_ALLOWS": 2, "NO_LICENCE": 1}
    assert read_table(made.selection)["selected"].tolist() == [True, True, False]
    assert read_table(made.decisions)["decision"].tolist() == ["allow", "allow", "deny"]


def test_the_same_inputs_give_the_same_snapshot_byte_for_byte(tmp_path: Path) -> None:
    workspace, rows = Workspace(tmp_path), [row("a", licence="MIT")]
    first = snapshot(workspace, rows)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    assert snapshot(workspace, rows) == first == load_snapshot(workspace, first.id)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before
    assert [path.name for path in first.folder.parent.iterdir()] == [first.id]
    with pytest.raises(ImprimaturError, match="feedbeef"):
        load_snapshot(workspace, "feedbeef")


def test_a_changed_statement_and_another_key_do_not_verify(tmp_path: Path) -> None:
    made = snapshot(Workspace(tmp_path / "a"), [row("a", licence="MIT")])
    statement_signer(Workspace(tmp_path / "b"))
    with pytest.raises(ImprimaturError, match="signature does not hold"):
        read_statement(made.statement, public_key_path(Workspace(tmp_path / "b")))
    envelope = json.loads(made.statement.read_text())
    envelope["payload"] = envelope["payload"][:-8] + "AAAA" + envelope["payload"][-4:]
    for content in (json.dumps(envelope), "{}", "[]", "no json", '{"payload": 1, "payloadType": 2, "signatures": 3}'):
        changed = tmp_path / "statement.json"
        changed.write_text(content)
        with pytest.raises(ImprimaturError, match="signature does not hold"):
            read_statement(changed, made.public_key)


def test_the_private_key_is_its_owners_and_stays_the_same(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    key = statement_signer(workspace).public_key
    assert stat.S_IMODE((workspace.keys / "statement.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(workspace.keys.stat().st_mode) == 0o700
    assert sorted(path.name for path in workspace.keys.iterdir()) == ["statement.pem", "statement.pub.pem"]
    assert statement_signer(workspace).public_key == key


def test_the_attribution_list_is_safe_to_open_in_a_spreadsheet(tmp_path: Path) -> None:
    rows = [
        row("a", licence="CC-BY-4.0", attribution="=HYPERLINK(1)"),
        row("b", licence="CC-BY-4.0", holders=["Ada", "Bela"]),
        row("c", licence="CC-BY-4.0", holders=["Ada", "Bela"]),
        row("e", licence="CC0-1.0", attribution="nobody must be named"),
        row("f", licence="CC-BY-NC-4.0", attribution="not selected"),
    ]
    made = snapshot(Workspace(tmp_path), rows)
    assert made.attribution.read_text().splitlines() == [
        "dataset,licence,credit,obligations,works",
        "d,CC-BY-4.0,'=HYPERLINK(1),attribution,1",
        "d,CC-BY-4.0,Ada; Bela,attribution,2",
    ]


def test_nothing_selected_needs_a_person_and_leaves_nothing_behind(tmp_path: Path) -> None:
    rows = [row("a"), row("b", licence="CC-BY-NC-4.0"), row("c", licence="CC-BY-NC-4.0")]
    with pytest.raises(NeedsPerson, match=r"none of 3 assets .* 2 × LICENCE_NONCOMMERCIAL.* 1 × NO_LICENCE"):
        snapshot(Workspace(tmp_path), rows)
    with pytest.raises(NeedsPerson, match="no asset"):
        snapshot(Workspace(tmp_path), [row("a", status="rejected", asset="")])
    assert not (tmp_path / "snapshots").exists()


def test_a_withdrawal_leaves_the_next_snapshot(tmp_path: Path) -> None:
    rows = [row("a", licence="CC-BY-4.0", holders=["ada"]), row("b", licence="CC0-1.0")]
    first = snapshot(Workspace(tmp_path), rows)
    gone = [event("1", "withdraw")]
    second = make_snapshot(
        Workspace(tmp_path), selection(rows, events=gone), decisions(rows, gone), PURPOSE, Policy(), NOW, NOW, "h"
    )
    assert second.root == merkle_root([digest("b")]) != first.root
    assert first.statement.exists()
