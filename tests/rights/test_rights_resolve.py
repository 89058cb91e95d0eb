"""A person resolves an unreadable event, by the command that they use."""

import pytest
from rights_inventory import NOW, event

from flows.commands.rights import resolve_event
from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import append_events, event_table, read_events
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.rights.chronicle import unresolved

END = "9999"


def heard(workspace: Workspace) -> list[str]:
    ids: list[str] = unresolved(event_table(read_events(open_catalog(workspace), END)), ())["event_id"].to_pylist()
    return [name for name in ids if not name.startswith("R-")]


def test_an_unreadable_event_is_resolved_once_whatever_other_events_are_called(workspace: Workspace) -> None:
    catalog = open_catalog(workspace)
    append_events(catalog, [event("E-1", "unreadable"), event("E-1#read"), event("E-2", "unreadable")])
    assert heard(workspace) == ["E-1", "E-1#read", "E-2"]
    assert resolve_event(workspace, "E-1", "row 12", "")["resolved"]
    assert not resolve_event(workspace, "E-1", "said otherwise", "")["resolved"]
    assert heard(workspace) == ["E-1#read", "E-2"]
    assert len(read_events(catalog, END)) == 4


@pytest.mark.parametrize(("identifier", "why"), [("E-1", "a readable"), ("E-9", "no event")])
def test_only_an_unreadable_event_can_be_resolved(workspace: Workspace, identifier: str, why: str) -> None:
    append_events(open_catalog(workspace), [event("E-1", "withdraw", recorded_at=NOW)])
    with pytest.raises(ImprimaturError, match=why):
        resolve_event(workspace, identifier, "", "")
