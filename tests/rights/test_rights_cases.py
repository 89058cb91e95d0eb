"""Deciding by case gives what each file would get if it were ruled on alone, event by event."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rights_inventory import NOW, decisions, event, row
from test_rights_decision import MOMENTS, ROWS, some_events

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.findings import USES, Purpose
from pipeline.rights.policy import Policy
from pipeline.rights.ruling import Question, Ruling, conclude, read_terms, weigh_consent
from pipeline.rights.voices import same


def about(one: dict[str, Any], event: ConsentEvent) -> bool:
    """The reference's words: an event is about a file by its digest, dataset:key, key, holder, person or dataset."""
    names = {
        "asset": [one["asset"], one["key"], f"{one['dataset']}:{one['key']}"],
        "holder": one["holders"],
        "person": one["depicts"],
        "dataset": [one["dataset"]],
    }
    return same(event.subject_id) in {same(name) for name in names[event.subject_type]}


def alone(one: dict[str, Any], events: list[ConsentEvent], question: Question) -> Ruling:
    terms = read_terms(one["licence"], "", one["signals"], question)
    heard = [event for event in events if event.recorded_at <= NOW and about(one, event)]
    return conclude(terms, weigh_consent(tuple(one["holders"]), tuple(one["depicts"]), heard, [], question), question)


POLICIES = st.builds(
    Policy,
    territories=st.sampled_from([("*",), ("DE",), ("DE", "CH")]),
    registrars=st.sampled_from([(), ("mallory",), ("ada",)]),
    likeness=st.sampled_from(["generative", "always"]),
)


@settings(max_examples=120, deadline=None)
@given(ROWS, some_events(), st.sampled_from(USES), st.booleans(), POLICIES, MOMENTS)
def test_every_file_gets_the_ruling_that_it_would_get_alone(
    rows: list[dict[str, Any]], events: list[ConsentEvent], use: Any, commercial: bool, policy: Policy, as_of: str
) -> None:
    question = Question(Purpose(use, commercial), policy, as_of)
    # keys, pixels and bytes of their own: no relatives, no ambiguity
    own = [{"key": f"k{n}" if n else "a", "asset": f"{n:064x}", "pixels": str(n)} for n in range(len(rows))]
    rows = [one | mine | {"derived_from": []} for one, mine in zip(rows, own, strict=True)]
    table = decisions(rows, events, purpose=str(question.purpose), policy=policy, as_of=as_of)
    for line, one in zip(table.to_dict("records"), rows, strict=True):
        ruling = alone(one, events, question)
        assert line["decision"] == str(ruling.verdict)
        assert set(line["reasons"]) == {str(finding.reason) for finding in ruling.told()}
        # events that others replaced need not be cited, and none is cited that does not count
        cited = {item for finding in ruling.told() for item in finding.evidence}
        assert set(line["evidence"]) <= cited and bool(line["evidence"])


@pytest.mark.parametrize("holders", [["Ada", "ada "], ["ada", "Bela", "ADA"]])
def test_a_holder_listed_twice_is_one_holder(holders: list[str]) -> None:
    given_row = row("a", holders=holders, licence="LicenseRef-x")
    said = [event("1"), event("2", subject_id="bela")]
    assert decisions([given_row], said)["decision"].tolist() == ["allow"]


def test_names_do_not_matter_but_who_speaks_does() -> None:
    rows = [row(name, holders=[name], licence="LicenseRef-x") for name in ("ada", "bela", "cleo")]
    said = [
        event("1", subject_id="ada"),
        event("2", subject_id="bela", actor="Bela"),
        event("3", subject_id="cleo", actor="bela"),
    ]
    table = decisions(rows, said)
    assert table["decision"].tolist() == ["allow", "allow", "deny"]
    assert table["evidence"].tolist()[:2] == [["event:1"], ["event:2"]]


@pytest.mark.parametrize(
    ("note", "touched"),
    [
        ('{"row": {"unreadable row": "{\\"subject_id\\": \\"ada"}, "why": ""}', [True, False]),
        ('{"row": {"unreadable row": "withdraw;d:b;everything"}, "why": ""}', [False, True]),
        ('{"row": {"whom": "Ada", "action": "withdraw"}, "why": ""}', [True, False]),
        ("no JSON, b, and nobody else", [False, True]),
        ('{"row": {"note": "adamant"}, "why": ""}', [False, False]),
    ],
)
def test_an_unreadable_row_without_a_subject_touches_what_it_mentions(note: str, touched: list[bool]) -> None:
    rows = [row("a", holders=["ada"], licence="CC0-1.0"), row("b", licence="CC0-1.0")]
    lost = event("1", "unreadable", subject_type="", subject_id="", note=note)
    expected = [("review" if one else "allow") for one in touched]
    assert decisions(rows, [lost])["decision"].tolist() == expected


RESTRICTING = [
    {"signals": '{"headers": {"x-robots-tag": ["noai"]}}'},
    {"signals": '{"unreadable": ["xmp"]}'},
    {"signals": '{"c2pa": {"state": "Invalid"}}'},
    {"signals": '{"c2pa": {"training_mining": [{"entry": "cawg.ai_training", "use": "notAllowed"}]}}'},
    {"depicts": ["emil"]},
    {"derived_from": ["not here"]},
    {"licence": "CC-BY-4.0 AND CC-BY-NC-4.0"},
    {"licence": ""},
]


@settings(max_examples=60, deadline=None)
@given(ROWS, some_events(), st.sampled_from(RESTRICTING), st.sampled_from(USES), st.booleans())
def test_adding_a_restriction_never_opens_anything(
    rows: list[dict[str, Any]], events: list[ConsentEvent], more: dict[str, Any], use: Any, commercial: bool
) -> None:
    question = {"purpose": str(Purpose(use, commercial)), "policy": Policy(likeness="always")}
    free = [one | {"licence": "CC-BY-4.0", "signals": "", "depicts": [], "derived_from": []} for one in rows]
    before = decisions(free, events, **question)["decision"]
    after = decisions([free[0] | more, *free[1:]], events, **question)["decision"]
    order = ["allow", "review", "deny"]
    assert all(order.index(late) >= order.index(early) for early, late in zip(before, after, strict=True))


@settings(max_examples=50, deadline=None)
@given(ROWS, some_events(), MOMENTS, MOMENTS)
def test_what_is_not_yet_in_force_or_over_closes_and_grants_nothing(
    rows: list[dict[str, Any]], events: list[ConsentEvent], as_of: str, later: str
) -> None:
    held = [e for e in events if e.effective_from <= as_of and not ("" < e.effective_until <= as_of)]
    quiet = [e for e in events if e not in held and e.action in ("withdraw", "restrict") and e.effective_until != ""]
    quiet = [e for e in quiet if e.effective_until > e.effective_from]
    without = [e for e in events if e not in quiet]
    assert decisions(rows, events, as_of=as_of)["decision"].tolist() == (
        decisions(rows, without, as_of=as_of)["decision"].tolist()
    )


@settings(max_examples=40, deadline=None)
@given(ROWS, some_events(), st.integers(2, 5))
def test_an_answer_does_not_depend_on_the_other_files(
    rows: list[dict[str, Any]], events: list[ConsentEvent], copies: int
) -> None:
    """Many unrelated files beside them change nothing: cases are shared, answers are not mixed up."""
    others = [row(f"x{n}", holders=[f"h{n}", "ada"], licence="CC-BY-4.0", dataset="other") for n in range(copies)]
    table = decisions(rows, events, as_of=NOW)
    among = decisions([*others, *rows], events, as_of=NOW).iloc[copies:]
    assert table["decision"].tolist() == among["decision"].tolist()
    assert table["reasons"].tolist() == among["reasons"].tolist()
