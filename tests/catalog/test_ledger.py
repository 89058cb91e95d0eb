from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import (
    ConsentEvent,
    append_events,
    event_columns,
    event_hash,
    ledger_head,
    read_events,
    verify_chain,
)
from pipeline.core.digests import json_digest
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace

END = "9999"
EVENT = ConsentEvent(
    event_id="E-1",
    recorded_at="2026-01-01T00:00:00.000000Z",
    effective_from="2026-01-01T00:00:00.000000Z",
    effective_until="",
    actor="ada",
    subject_type="holder",
    subject_id="ada",
    action="grant",
    uses="*",
    commercial="any",
    territory="*",
    overrides_signals="no",
    evidence="contract.pdf",
    note="",
)


@pytest.fixture
def catalog(tmp_path: Path) -> Engine:
    return open_catalog(Workspace(tmp_path))


def events(count: int) -> list[ConsentEvent]:
    return [
        replace(EVENT, event_id=f"E-{i}", recorded_at=f"2026-01-{i + 1:02}T00:00:00.000000Z") for i in range(count)
    ]


def test_events_are_appended_once_and_read_in_recorded_order(catalog: Engine) -> None:
    first, second, third = events(3)
    assert append_events(catalog, [third, first]).imported == 2
    again = append_events(catalog, [first, second, second])
    assert (again.imported, again.already_known) == (1, 2)
    assert read_events(catalog, END) == [first, second, third]
    assert read_events(catalog, second.recorded_at) == [first, second]
    assert verify_chain(catalog).intact and verify_chain(catalog).events == 3


def test_a_known_id_with_other_content_is_refused_and_nothing_of_the_import_stays(catalog: Engine) -> None:
    append_events(catalog, [EVENT])
    with pytest.raises(ImprimaturError, match=r"'E-1'.*'grant'.*'withdraw'"):
        append_events(catalog, [replace(EVENT, event_id="E-2"), replace(EVENT, action="withdraw")])
    assert read_events(catalog, END) == [EVENT]


def test_the_same_statement_imported_on_another_day_is_already_known(catalog: Engine) -> None:
    append_events(catalog, [EVENT])
    later = "2026-02-01T00:00:00.000000Z"
    assert append_events(catalog, [replace(EVENT, recorded_at=later, effective_from=later)]).already_known == 1
    with pytest.raises(ImprimaturError, match="effective_from"):
        append_events(catalog, [replace(EVENT, recorded_at=later, effective_from="2020-01-01T00:00:00.000000Z")])


def test_the_head_is_the_last_link_recorded_by_then(catalog: Engine) -> None:
    first, second = events(2)
    assert ledger_head(catalog, END) == ""
    append_events(catalog, [first, second])
    link = event_hash(first, "")
    assert ledger_head(catalog, first.recorded_at) == link
    assert ledger_head(catalog, END) == event_hash(second, link)


@pytest.mark.parametrize("statement", ["update consent_events set action = 'grant'", "delete from consent_events"])
def test_the_database_itself_refuses_changes(catalog: Engine, statement: str) -> None:
    append_events(catalog, events(3))
    with pytest.raises(IntegrityError, match="append-only"), catalog.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("update consent_events set action = 'grant', note = 'x' where seq = 2", "E-1"),
        ("delete from consent_events where seq = 1", "E-1"),
    ],
)
def test_tampering_behind_the_triggers_is_found(tmp_path: Path, tampering: str, broken: str) -> None:
    workspace = Workspace(tmp_path)
    append_events(open_catalog(workspace), events(4))
    bare = create_engine(f"sqlite:///{workspace.catalog}")
    with bare.begin() as connection:
        for trigger in ("no_update", "no_delete"):
            connection.execute(text(f"drop trigger consent_events_{trigger}"))
        connection.execute(text(tampering))
    check = verify_chain(open_catalog(workspace))
    assert not check.intact and check.first_broken == broken


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_hash_is_over_rfc_8785_bytes(note: str, evidence: str) -> None:
    event = replace(EVENT, note=note, evidence=evidence)
    assert event_hash(event, "ab") == json_digest({**event_columns(event), "prev": "ab"})
