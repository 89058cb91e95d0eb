import json
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rights_inventory import NOW, answer, decisions, digest, event, row

from pipeline.catalog.ledger import ConsentEvent
from pipeline.rights.policy import Policy, load_policy, policy_digest
from pipeline.rights.reasons import Reason

NO_TRAINING = json.dumps({"xmp": {"plus:DataMining": "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"}})
CONTRACT = row("a", holders=["ada"], licence="LicenseRef-contract")
LICENSED = row("a", holders=["ada"], licence="CC-BY-4.0")


def test_a_grant_allows_and_a_withdrawal_closes_even_over_a_public_licence() -> None:
    assert answer(CONTRACT) == ("deny", ["LICENCE_CONTRACT"])
    assert answer(CONTRACT, event("E-1")) == ("allow", ["GRANT"])
    assert answer(LICENSED, event("E-1", "withdraw")) == ("deny", ["CONSENT_WITHDRAWN"])
    assert answer(LICENSED, event("E-1", "restrict")) == ("deny", ["CONSENT_RESTRICTED"])
    assert decisions([CONTRACT], [event("E-1")]).loc[0, "evidence"] == ["event:E-1"]
    assert decisions([LICENSED]).loc[0, "evidence"] == ["licence:CC-BY-4.0 (file)"]


def test_the_last_word_counts_and_closing_wins_a_tie() -> None:
    first, second, third = (f"2026-0{month}-01T00:00:00.000000Z" for month in (1, 2, 3))
    said = [event("1", recorded_at=first), event("2", "withdraw", recorded_at=second), event("3", recorded_at=third)]
    assert answer(CONTRACT, *said)[0] == "allow"
    assert answer(CONTRACT, *said, known_at=second)[0] == "deny"
    tie = [event("1", "withdraw", recorded_at=first), event("2", recorded_at=first)]
    assert answer(CONTRACT, *tie)[1] == ["CONSENT_WITHDRAWN"]


def test_an_expiry_ends_a_grant_but_not_a_withdrawal() -> None:
    later = "2026-02-01T00:00:00.000000Z"
    expiry = event("2", "expire", recorded_at=later)
    assert answer(CONTRACT, event("1"), expiry) == ("deny", ["LICENCE_CONTRACT", "GRANT_EXPIRED"])
    assert answer(LICENSED, event("1"), expiry)[0] == "allow"
    assert answer(LICENSED, event("1", "withdraw"), expiry)[1] == ["CONSENT_WITHDRAWN"]
    ended = event("2", recorded_at=later, effective_until="2026-03-01T00:00:00.000000Z")
    assert answer(LICENSED, event("1", "withdraw"), ended)[1] == ["CONSENT_WITHDRAWN"]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"effective_until": NOW}, "GRANT_EXPIRED"),
        ({"effective_from": "2099-01-01T00:00:00.000000Z"}, "GRANT_NOT_YET"),
        ({"uses": "train_other|generate_input"}, "GRANT_SCOPE"),
        ({"uses": "likeness"}, "GRANT_SCOPE"),
        ({"commercial": "no"}, "GRANT_SCOPE"),
        ({"territory": "EU"}, "GRANT_TERRITORY"),
    ],
)
def test_why_a_grant_does_not_help(columns: dict[str, str], reason: str) -> None:
    assert answer(CONTRACT, event("E-1", **columns)) == ("deny", ["LICENCE_CONTRACT", reason])


def test_a_grant_holds_from_its_first_moment_to_before_its_last() -> None:
    window = event("E-1", effective_from="2026-02-01T00:00:00.000000Z", effective_until="2026-03-01T00:00:00.000000Z")
    moments = [
        "2026-01-31T23:59:59.999999Z",
        window.effective_from,
        "2026-02-28T00:00:00.000000Z",
        window.effective_until,
    ]
    assert [answer(CONTRACT, window, as_of=moment)[0] for moment in moments] == ["deny", "allow", "allow", "deny"]


def test_territories_must_all_be_granted_and_any_may_be_closed() -> None:
    germany, alps = Policy(territories=("DE",)), Policy(territories=("DE", "CH"))
    union = event("E-1", territory="EU")
    assert answer(CONTRACT, union, policy=germany)[0] == "allow"
    assert answer(CONTRACT, union, policy=alps)[1][-1] == "GRANT_TERRITORY"
    assert answer(CONTRACT, union, event("E-2", territory="CH"), policy=alps)[0] == "allow"
    closed = event("E-3", "restrict", territory="FR")
    assert answer(LICENSED, closed, policy=germany)[0] == "allow"
    assert answer(LICENSED, closed)[0] == "deny"
    reopened = event("E-4", territory="FR", recorded_at="2026-02-01T00:00:00.000000Z")
    assert answer(LICENSED, closed, reopened)[0] == "allow"


def test_a_withdrawal_closes_only_its_scope() -> None:
    training = event("E-1", "restrict", uses="train_generative", commercial="yes")
    assert answer(LICENSED, training)[0] == "deny"
    assert answer(LICENSED, training, purpose="train_generative")[0] == "allow"
    assert answer(LICENSED, training, purpose="train_other:commercial")[0] == "allow"


def test_every_holder_must_consent() -> None:
    joint = row("a", holders=["ada", "Bela"], licence="LicenseRef-joint")
    assert answer(joint, event("1"))[1] == ["LICENCE_CONTRACT", "GRANT_INCOMPLETE"]
    assert answer(joint, event("1"), event("2", subject_id="bela"))[0] == "allow"
    assert answer(joint, event("1"), event("2", "withdraw", subject_id="bela"))[1] == ["CONSENT_WITHDRAWN"]
    assert answer(joint, event("1", subject_type="dataset", subject_id="d"))[0] == "allow"


def test_strangers_grant_nothing_and_their_objections_are_reviewed() -> None:
    about = {"subject_type": "asset", "subject_id": "a", "actor": "mallory"}
    assert answer(CONTRACT, event("1", **about)) == ("deny", ["LICENCE_CONTRACT"])
    assert answer(LICENSED, event("1", "withdraw", **about)) == ("review", ["CLAIM_UNVERIFIED"])
    assert answer(CONTRACT, event("1", actor="mallory"))[0] == "deny"
    assert answer(LICENSED, event("1", "withdraw", **about | {"actor": "Ada "}))[1] == ["CONSENT_WITHDRAWN"]
    trusting = Policy(registrars=("mallory",))
    assert answer(CONTRACT, event("1", **about), policy=trusting)[0] == "allow"


def test_without_a_listed_holder_anybody_may_object_and_only_the_studio_records_grants() -> None:
    orphan, about = row("a", licence="CC0-1.0"), {"subject_type": "asset", "subject_id": "a"}
    assert answer(orphan, event("1", "restrict", actor="Somebody", **about))[1] == ["CONSENT_RESTRICTED"]
    assert answer(row("a"), event("1", actor="Somebody", **about))[0] == "deny"
    assert answer(row("a"), event("1", subject_type="dataset", subject_id="d", actor="Somebody"))[0] == "deny"
    assert answer(row("a"), event("1", **about))[0] == "allow"


def test_signals_deny_a_licence_and_stop_a_grant_that_does_not_override_them() -> None:
    marked = CONTRACT | {"signals": NO_TRAINING}
    assert answer(LICENSED | {"signals": NO_TRAINING})[1] == ["SIGNAL_DMI_PROHIBITED"]
    assert answer(marked, event("1")) == ("review", ["GRANT_VS_SIGNAL"])
    assert answer(marked, event("1", overrides_signals="yes")) == ("allow", ["GRANT"])
    joint = marked | {"holders": ["ada", "bela"]}
    said = event("1", overrides_signals="yes"), event("2", subject_id="bela")
    assert answer(joint, *said)[1] == ["GRANT_VS_SIGNAL"]


def test_depicted_people_grant_their_likeness_themselves() -> None:
    portrait = LICENSED | {"depicts": ["Dora"]}
    dora = {"subject_type": "person", "subject_id": "Dora"}
    assert answer(portrait)[1] == ["NO_LIKENESS"]
    assert answer(portrait, event("1", **dora))[1] == ["NO_LIKENESS"]  # * excludes likeness
    granted = event("1", uses="likeness", **dora)
    assert answer(portrait, granted)[0] == "allow"
    assert answer(portrait, replace(granted, commercial="no"))[1] == ["NO_LIKENESS"]
    assert answer(portrait, replace(granted, actor="mallory"))[1] == ["NO_LIKENESS"]
    assert answer(portrait, granted, event("2", "withdraw", **dora))[1] == ["NO_LIKENESS"]
    assert answer(portrait, purpose="train_other")[0] == "allow"
    assert answer(portrait, purpose="train_other", policy=Policy(likeness="always"))[0] == "deny"
    assert answer(portrait, event("2", "withdraw", **dora), purpose="train_other")[1] == ["CLAIM_UNVERIFIED"]


@pytest.mark.parametrize(
    "subject", [("holder", "ada"), ("asset", "a"), ("asset", "d:a"), ("dataset", "d"), ("", "ada")]
)
def test_unreadable_events_make_their_subject_review(subject: tuple[str, str]) -> None:
    broken = event("1", "unreadable", subject_type=subject[0], subject_id=subject[1])
    assert answer(LICENSED, broken) == ("review", ["LEDGER_UNREADABLE"])
    assert answer(LICENSED, broken, as_of="2020-01-01T00:00:00.000000Z")[0] == "review"
    assert answer(row("z", licence="CC-BY-4.0", dataset="e"), broken)[0] == "allow"
    for columns in ({"action": "bless"}, {"uses": "everything"}, {"territory": "Europe"}, {"commercial": "maybe"}):
        assert answer(LICENSED, replace(event("1"), **columns)) == ("review", ["LEDGER_UNREADABLE"])


def test_an_unreadable_event_holds_up_nothing_once_the_studio_says_that_a_person_has_read_it() -> None:
    broken, withdrawn = event("1", "unreadable"), event("2", "withdraw")
    later = "2026-03-01T00:00:00.000000Z"
    read = event("1#read", "expire", subject_type="event", subject_id="1", recorded_at=later)
    assert answer(LICENSED, broken, read)[0] == "allow"
    assert answer(LICENSED, broken, read, known_at="2026-02-01T00:00:00.000000Z")[0] == "review"
    assert answer(LICENSED, broken, replace(read, actor="ada"))[0] == "review"
    assert answer(LICENSED, broken, replace(read, actor="Desk"), policy=Policy(registrars=("desk",)))[0] == "allow"
    assert answer(LICENSED, broken, replace(read, action="grant"))[0] == "review"
    assert answer(LICENSED, broken, replace(read, subject_id="2"))[0] == "review"
    assert answer(LICENSED, withdrawn, replace(read, subject_id="2"))[0] == "deny"  # it can be read


@pytest.mark.parametrize("reference", ["a", "d:a", digest("a"), digest("a").upper()])
def test_references_to_an_asset(reference: str) -> None:
    withdrawn = event("1", "withdraw", subject_type="asset", subject_id=reference)
    table = decisions([LICENSED, row("b", licence="CC0-1.0")], [withdrawn])
    assert table["decision"].tolist() == ["deny", "allow"]


def test_a_reference_that_fits_several_assets_makes_all_of_them_review() -> None:
    rows = [row("a", licence="CC0-1.0"), row("a", licence="CC0-1.0", dataset="e", asset=digest("other"), pixels="p")]
    table = decisions(rows, [event("1", "withdraw", subject_type="asset", subject_id="a")])
    assert table["decision"].tolist() == ["review", "review"]
    assert table.loc[0, "reasons"] == ["AMBIGUOUS_REFERENCE"]
    exact = decisions(rows, [event("1", "withdraw", subject_type="asset", subject_id="e:a")])
    assert exact["decision"].tolist() == ["allow", "deny"]
    past = event("1", "withdraw", subject_type="asset", subject_id="a", effective_until="2026-02-01T00:00:00.000000Z")
    assert decisions(rows, [past])["decision"].tolist() == ["allow", "allow"]


def test_pixel_identical_twins_inherit_restrictions_across_datasets() -> None:
    marked = row("a", licence="CC0-1.0", signals=NO_TRAINING, pixels="same")
    stripped = row("b", licence="CC0-1.0", dataset="e", pixels="same")
    table = decisions([marked, stripped, row("c", licence="CC0-1.0")])
    assert table["decision"].tolist() == ["deny", "deny", "allow"]
    assert table.loc[1, "reasons"] == ["RELATIVE_PROHIBITED"]
    assert table.loc[1, "evidence"][0] == "relative:d:a.png"
    withdrawn = decisions([stripped, row("x", holders=["ada"], pixels="same")], [event("1", "withdraw")])
    assert withdrawn.loc[0, "reasons"] == ["RELATIVE_WITHDRAWN"]


def test_the_same_bytes_get_the_stricter_of_their_listings() -> None:
    rows = [
        row("a", licence="CC-BY-4.0"),
        row("b", licence="CC-BY-NC-4.0", asset=digest("a"), pixels=digest("pixels a")),
    ]
    table = decisions(rows)
    assert table["decision"].tolist() == ["deny", "deny"]
    assert table.loc[0, "reasons"] == ["RELATIVE_TERMS"]


def test_derivatives_inherit_from_every_ancestor() -> None:
    chain = [
        row("a", holders=["ada"], licence="CC-BY-4.0"),
        row("b", licence="CC0-1.0", derived_from=["a"]),
        row("c", licence="CC0-1.0", derived_from=["d:b"]),
    ]
    assert decisions(chain)["decision"].tolist() == ["allow"] * 3
    closed = decisions(chain, [event("1", "withdraw")])
    assert closed["decision"].tolist() == ["deny"] * 3
    assert closed.loc[2, "reasons"] == ["RELATIVE_WITHDRAWN"]
    circle = [row("a", licence="CC0-1.0", derived_from=["b"]), row("b", licence="CC0-1.0", derived_from=["a"])]
    assert decisions(circle)["decision"].tolist() == ["allow", "allow"]


def test_a_picture_identical_to_a_derivative_inherits_with_it() -> None:
    rows = [
        row("origin", holders=["ada"], licence="CC-BY-4.0"),
        row("made", licence="CC0-1.0", derived_from=["origin"], pixels="same"),
        row("twin", licence="CC0-1.0", pixels="same"),
    ]
    assert decisions(rows, [event("1", "withdraw")])["decision"].tolist() == ["deny"] * 3


def test_an_origin_that_is_not_here_is_reviewed_and_its_withdrawal_still_counts() -> None:
    derived = row("b", licence="CC0-1.0", derived_from=["lost"])
    assert answer(derived) == ("review", ["RELATIVE_UNKNOWN"])
    gone = event("1", "withdraw", subject_type="asset", subject_id="lost", actor="ada")
    assert answer(derived, gone) == ("deny", ["RELATIVE_WITHDRAWN"])


def test_rejected_files_are_understood_but_not_decided() -> None:
    rows = [row("a", status="rejected", asset="", holders=["ada"]), row("b", licence="CC0-1.0", derived_from=["a"])]
    table = decisions(rows, [event("1", "withdraw")])
    assert table["file"].tolist() == ["b.png"] and table.loc[0, "decision"] == "deny"
    assert decisions(rows[:1]).empty


def test_a_policy_may_deny_a_use_altogether() -> None:
    assert answer(CONTRACT, event("1"), policy=Policy(uses=()))[1] == ["POLICY_DENIES"]


def test_the_written_policy_is_the_default_one(pytestconfig: pytest.Config) -> None:
    written = load_policy(pytestconfig.rootpath / "configs/policy.yaml")
    assert written == Policy() and policy_digest(written) == policy_digest(Policy())
    assert policy_digest(Policy(territories=("DE",))) != policy_digest(Policy())


def test_every_reason_is_explained_in_a_sentence() -> None:
    assert all(reason.value == reason.name and reason.explanation.endswith(".") for reason in Reason)


# --- properties ---------------------------------------------------------------------------------------------

SEVERITY = {"allow": 0, "review": 1, "deny": 2}
MOMENTS = st.sampled_from([f"2026-0{month}-01T00:00:00.000000Z" for month in range(1, 10)])


@st.composite
def some_events(draw: Any) -> list[ConsentEvent]:
    made = []
    for number in range(draw(st.integers(0, 6))):
        subject = draw(st.sampled_from([("holder", "ada"), ("holder", "bela"), ("asset", "a"), ("dataset", "d"), ("person", "dora"), ("person", "emil")]))  # fmt: skip  # noqa: E501
        made.append(
            event(
                f"E-{number}",
                draw(st.sampled_from(["grant", "grant", "withdraw", "restrict", "expire", "unreadable"])),
                recorded_at=draw(MOMENTS),
                effective_from=draw(MOMENTS),
                effective_until=draw(st.just("") | MOMENTS),
                actor=draw(st.sampled_from(["", "ada", "bela", "mallory"])),
                subject_type=subject[0],
                subject_id=subject[1],
                uses=draw(st.sampled_from(["*", "train_generative", "train_other", "likeness", "*|likeness"])),
                commercial=draw(st.sampled_from(["any", "yes", "no"])),
                territory=draw(st.sampled_from(["*", "EU", "DE|CH"])),
                overrides_signals=draw(st.sampled_from(["yes", "no"])),
            )
        )
    return made


ROWS = st.lists(
    st.builds(
        lambda key, **columns: row(key, **columns),
        key=st.sampled_from(["a", "b"]),
        licence=st.sampled_from(["", "CC-BY-4.0", "CC-BY-SA-4.0", "LicenseRef-x"]),
        holders=st.sampled_from([[], ["ada"], ["ada", "bela"]]),
        depicts=st.sampled_from([[], ["dora"], ["emil", "Dora"], ["bela"]]),
        derived_from=st.sampled_from([[], ["a"]]),
        signals=st.sampled_from(["", NO_TRAINING]),
        pixels=st.sampled_from(["one", "two"]),
    ),
    min_size=1,
    max_size=3,
)
QUESTION = {"as_of": NOW, "known_at": NOW}


def severities(table: pd.DataFrame) -> list[int]:
    return [SEVERITY[text] for text in table["decision"]]


@settings(max_examples=80, deadline=None)
@given(
    ROWS,
    some_events(),
    st.sampled_from(["holder", "asset", "dataset"]),
    MOMENTS,
    st.sampled_from(["", "ada", "mallory"]),
)
def test_adding_a_withdrawal_never_frees_anything(
    rows: list[dict[str, Any]], events: list[ConsentEvent], subject: str, moment: str, actor: str
) -> None:
    name = {"holder": "ada", "asset": "a", "dataset": "d"}[subject]
    more = event("W", "withdraw", recorded_at=moment, subject_type=subject, subject_id=name, actor=actor)
    before, after = decisions(rows, events), decisions(rows, [*events, more])
    assert all(late >= early for early, late in zip(severities(before), severities(after), strict=True))


@settings(max_examples=80, deadline=None)
@given(ROWS, some_events(), MOMENTS)
def test_what_was_recorded_later_changes_nothing(
    rows: list[dict[str, Any]], events: list[ConsentEvent], known_at: str
) -> None:
    known = [e for e in events if e.recorded_at <= known_at]
    pd.testing.assert_frame_equal(
        decisions(rows, events, known_at=known_at), decisions(rows, known, known_at=known_at)
    )


@settings(max_examples=80, deadline=None)
@given(ROWS, some_events(), st.randoms(use_true_random=False))
def test_the_order_of_import_changes_nothing(
    rows: list[dict[str, Any]], events: list[ConsentEvent], random: Any
) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    assert severities(decisions(rows, events)) == severities(decisions(rows, shuffled))


@settings(max_examples=80, deadline=None)
@given(ROWS, some_events())
def test_every_accepted_file_is_decided_with_reasons_and_evidence(
    rows: list[dict[str, Any]], events: list[ConsentEvent]
) -> None:
    table = decisions(rows, events)
    assert len(table) == len(rows)
    for reasons, evidence in zip(table["reasons"], table["evidence"], strict=True):
        assert evidence and all(Reason[code] for code in reasons) and reasons
