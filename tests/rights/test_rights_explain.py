import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rights_inventory import NOW, event, row
from test_rights_decision import ROWS, some_events

from pipeline.catalog.database import open_catalog
from pipeline.catalog.ledger import ConsentEvent, append_events
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.rights.assets import inventory_table
from pipeline.rights.blocks import decide
from pipeline.rights.explain import Explanation, explain, in_words
from pipeline.rights.findings import parse_purpose
from pipeline.rights.inquiry import Inquiry
from pipeline.rights.policy import Policy, policy_digest
from pipeline.rights.ruling import Question

QUESTION = Question(parse_purpose("train_generative:commercial"), Policy(), NOW)


def explained(
    workspace: Workspace, rows: list[dict[str, object]], events: list[ConsentEvent], reference: str
) -> list[Explanation]:
    catalog = open_catalog(workspace)
    append_events(catalog, events)
    inquiry = Inquiry(catalog, inventory_table(pd.DataFrame(rows)), {"d": "CC0-1.0"})
    decisions, numbers = inquiry.ask(reference, QUESTION, NOW)
    return explain(decisions, numbers, NOW)


def test_a_person_reads_why_and_on_whose_word(workspace: Workspace) -> None:
    rows = [row("a", holders=["Ada"], licence="CC-BY-4.0"), row("b")]
    early = event("E-1", uses="train_other", note="by phone")
    closing = event(
        "E-2", "withdraw", evidence="letter-17.pdf", actor="ada", recorded_at="2026-02-01T00:00:00.000000Z"
    )
    (found,) = explained(workspace, rows, [early, closing, event("E-3", subject_id="bela")], "d:a")
    text = in_words(found)
    assert "No: DENY." in text and "A rights holder has withdrawn consent for this use. [CONSENT_WITHDRAWN]" in text
    assert "E-2: ada withdrew holder ada" in text and "letter-17.pdf" in text
    assert "E-1: the records granted holder ada; training other models" in text and "note: by phone" in text
    assert "E-3" not in text and policy_digest(Policy()) in text
    line = json.loads(json.dumps(found.as_row()))
    assert line["decision"] == "deny" and line["decisive"][0]["evidence"] == ["event:E-2"]
    assert [said["event_id"] for said in line["events"]] == ["E-1", "E-2"]


def test_a_twin_in_another_dataset_is_cited_with_what_was_said_about_it(workspace: Workspace) -> None:
    rows = [row("a", pixels="same"), row("b", dataset="e", pixels="same", holders=["ada"], licence="CC-BY-4.0")]
    (found,) = explained(workspace, rows, [event("E-1", "withdraw", evidence="mail.eml")], "a")
    assert [str(finding.reason) for finding in found.decisive] == ["RELATIVE_WITHDRAWN"]
    assert "relative:e:b.png" in in_words(found) and "mail.eml" in in_words(found)
    assert [str(finding.reason) for finding in found.other] == ["LICENCE_ALLOWS"]


def test_a_reference_must_fit_one_asset(workspace: Workspace) -> None:
    rows = [row("a"), row("a", dataset="e", asset="ab" * 32)]
    assert len(explained(workspace, rows, [], "d:a")) == 1
    for reference in ("a", "nothing", "d:nothing"):
        with pytest.raises(ImprimaturError, match="fits"):
            explained(workspace, rows, [], reference)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, events=some_events(), read=st.sets(st.sampled_from(["E-0", "E-1", "E-2"])))
def test_one_asset_gets_the_answer_that_it_gets_among_all(
    tmp_path: Path, rows: list[dict[str, object]], events: list[ConsentEvent], read: set[str]
) -> None:
    events += [event(f"{name}#read", "expire", subject_type="event", subject_id=name) for name in sorted(read)]
    rows = [one | {"key": f"{one['key']}", "file": f"{number}.png"} for number, one in enumerate(rows)]
    more = [row("other", dataset="e", holders=["bela"]), row("a", dataset="e", asset="cd" * 32, pixels="one")]
    licences = {"d": "", "e": "CC-BY-4.0"}
    table = decide(pd.DataFrame([*rows, *more]), licences, events, QUESTION.purpose, QUESTION.policy, NOW, NOW)
    workspace = Workspace(tmp_path / str(abs(hash(tuple(events)))))
    append_events(open_catalog(workspace), events)
    inquiry = Inquiry(open_catalog(workspace), inventory_table(pd.DataFrame([*rows, *more])), licences)
    for asset in table["asset"].unique():
        decisions, numbers = inquiry.ask(asset, QUESTION, NOW)
        one = decisions.table().to_pandas().iloc[numbers]
        among = table[table["asset"] == asset]
        assert one["decision"].tolist() == among["decision"].tolist()
        assert one["reasons"].map(list).tolist() == among["reasons"].tolist()
        assert one["evidence"].map(set).tolist() == among["evidence"].map(set).tolist()
    open_catalog(workspace).dispose()
