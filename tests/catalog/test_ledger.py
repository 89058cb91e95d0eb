import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import IntegrityError

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import (
    ConsentEvent,
    append_events,
    event_columns,
    event_hash,
    event_table,
    event_with_id,
    ledger_head,
    read_event_table,
    read_events,
    read_events_about,
    verify_chain,
)
from pipeline.catalog.tables import consent_events
from pipeline.core.digests import json_digest
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
def catalog(workspace: Workspace) -> Engine:
    return open_catalog(workspace)


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


def test_what_comes_under_a_known_id_with_other_content_is_for_a_person_and_stops_nothing(catalog: Engine) -> None:
    append_events(catalog, [EVENT])
    other = replace(EVENT, action="withdraw", subject_id="bela")
    appended = append_events(catalog, [other, replace(EVENT, event_id="E-2")])
    (beside,) = appended.contradicting
    assert appended.imported == 2 and read_events(catalog, END) == [EVENT, beside, replace(EVENT, event_id="E-2")]
    assert (beside.action, beside.subject_id) == ("unreadable", "bela") and beside.event_id.startswith("E-1#")
    assert json.loads(beside.note)["row"]["action"] == "withdraw"
    again = append_events(catalog, [replace(other, recorded_at=END, effective_from=END)])
    assert (again.imported, again.already_known, again.contradicting[0].event_id) == (0, 1, beside.event_id)
    assert verify_chain(catalog).intact


def test_a_row_put_right_counts_beside_the_one_that_could_not_be_read(catalog: Engine) -> None:
    append_events(catalog, [replace(EVENT, action="unreadable")])
    (beside,) = append_events(catalog, [EVENT]).contradicting
    assert beside == replace(EVENT, event_id=beside.event_id) and event_with_id(catalog, beside.event_id) == beside


def test_the_same_statement_imported_on_another_day_is_already_known(catalog: Engine) -> None:
    append_events(catalog, [EVENT])
    later = "2026-02-01T00:00:00.000000Z"
    assert append_events(catalog, [replace(EVENT, recorded_at=later, effective_from=later)]).already_known == 1
    assert append_events(catalog, [replace(EVENT, recorded_at=later)]).already_known == 1
    dated = replace(EVENT, recorded_at=later, effective_from="2020-01-01T00:00:00.000000Z")
    assert append_events(catalog, [dated]).contradicting


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
    assert len(read_events(catalog, END)) == 3


def test_the_database_itself_refuses_a_link_that_does_not_fit(catalog: Engine) -> None:
    append_events(catalog, events(3))
    forged = event_columns(EVENT) | {"event_id": "F", "subject_key": "ada", "prev": "ab" * 32, "hash": "cd" * 32}
    with pytest.raises(IntegrityError, match="chain is broken"), catalog.begin() as connection:
        connection.execute(insert(consent_events).values(seq=4, **forged))
    assert verify_chain(catalog).events == 3


def test_a_table_of_events_cannot_be_emptied_in_postgresql(catalog: Engine) -> None:
    append_events(catalog, events(3))
    if catalog.dialect.name == "postgresql":  # SQLite has no TRUNCATE
        with pytest.raises(IntegrityError, match="append-only"), catalog.begin() as connection:
            connection.execute(text("truncate consent_events"))
    assert len(read_events(catalog, END)) == 3


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("update consent_events set action = 'grant', note = 'x' where seq = 2", "E-1"),
        ("update consent_events set subject_key = 'somebody else' where seq = 3", "E-2"),
        ("delete from consent_events where seq = 1", "E-1"),
    ],
)
def test_tampering_behind_the_triggers_is_found(catalog: Engine, tampering: str, broken: str) -> None:
    append_events(catalog, events(4))
    with catalog.begin() as connection:
        for trigger in ("no_update", "no_delete", "no_change"):
            on = " on consent_events" if catalog.dialect.name == "postgresql" else ""
            connection.execute(text(f"drop trigger if exists consent_events_{trigger}{on}"))
        connection.execute(text(tampering))
    check = verify_chain(catalog)
    assert not check.intact and check.first_broken == broken


def test_opening_again_restores_a_missing_trigger(workspace: Workspace) -> None:
    catalog = open_catalog(workspace)
    append_events(catalog, events(1))
    with catalog.begin() as connection:
        on = " on consent_events" if catalog.dialect.name == "postgresql" else ""
        connection.execute(text(f"drop trigger consent_events_chain{on}"))
    open_catalog.cache_clear()
    again = open_catalog(workspace)
    with pytest.raises(IntegrityError, match="chain is broken"), again.begin() as connection:
        connection.execute(
            insert(consent_events).values(seq=9, subject_key="", prev="no", hash="h", **event_columns(events(2)[1]))
        )
    again.dispose()


def test_events_are_found_by_subject_whatever_its_case(catalog: Engine) -> None:
    said = [
        replace(EVENT, event_id="1", subject_id=" Ada"),
        replace(EVENT, event_id="2", subject_id="BELA"),
        replace(EVENT, event_id="3", subject_id="", action="unreadable"),
        replace(EVENT, event_id="4", subject_id="Straße" + "x" * 3000),
    ]
    append_events(catalog, said)
    assert read_events_about(catalog, ["aDa"], END) == [said[0], said[2]]
    assert read_events_about(catalog, ["STRASSE" + "X" * 3000], END) == said[2:]
    assert read_events_about(catalog, map(str, range(2000)), EVENT.recorded_at) == [said[2]]
    assert read_events_about(catalog, ["ada"], "2020") == []


def test_events_by_column_are_the_events(catalog: Engine) -> None:
    append_events(catalog, events(5))
    table = read_event_table(catalog, END)
    assert [ConsentEvent(**line) for line in table.to_pylist()] == read_events(catalog, END) == events(5)
    assert event_table(events(5)).equals(table)
    assert read_event_table(catalog, "2020").num_rows == event_table([]).num_rows == 0


def test_writers_at_once_make_one_chain(workspace: Workspace) -> None:
    catalog = open_catalog(workspace)

    def write(writer: int) -> None:
        for number in range(12):
            append_events(catalog, [replace(EVENT, event_id=f"{writer}-{number}"), replace(EVENT, event_id="same")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    check = verify_chain(catalog)
    assert check.intact and check.events == 4 * 12 + 1


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_hash_is_over_rfc_8785_bytes(note: str, evidence: str) -> None:
    event = replace(EVENT, note=note, evidence=evidence)
    assert event_hash(event, "ab") == json_digest({**event_columns(event), "prev": "ab"})
