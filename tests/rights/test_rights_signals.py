import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rights_inventory import answer, row

from pipeline.rights.findings import USES, Purpose, Verdict
from pipeline.rights.signals import read_signals

PURPOSES = [Purpose("train_generative", True), Purpose("train_other", True), Purpose("generate_input", True)]


def letters(facts: dict[str, Any]) -> str:
    """Worst verdict for generative training, other training, and generation input."""
    found = [read_signals(json.dumps(facts), purpose, ("imprimatur",)).findings for purpose in PURPOSES]
    return "".join(str(max((f.verdict for f in one), default=Verdict.ALLOW))[0].upper() for one in found)


@pytest.mark.parametrize(
    ("value", "verdicts"),
    [
        ("DMI-UNSPECIFIED", "AAA"),
        ("DMI-ALLOWED", "AAA"),
        ("DMI-PROHIBITED", "DDD"),
        ("DMI-PROHIBITED-AIMLTRAINING", "DDA"),
        ("DMI-PROHIBITED-GENAIMLTRAINING", "DAA"),
        ("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING", "DDD"),
        ("DMI-PROHIBITED-SEECONSTRAINT", "RRR"),
        ("DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR", "RRR"),
        ("DMI-PROHIBITED-SEELINKEDRIGHTSEXPR", "RRR"),
        ("DMI-INVENTED-TOMORROW", "RRR"),
    ],
)
def test_plus_data_mining(value: str, verdicts: str) -> None:
    assert letters({"xmp": {"plus:DataMining": f"http://ns.useplus.org/ldf/vocab/{value}"}}) == verdicts
    assert letters({"xmp": {"plus:DataMining": ["DMI-ALLOWED", value]}}) == verdicts


@pytest.mark.parametrize("family", ["cawg", "c2pa"])
@pytest.mark.parametrize(
    ("entry", "use", "verdicts"),
    [
        ("ai_generative_training", "notAllowed", "DAA"),
        ("ai_generative_training", "constrained", "DAA"),
        ("ai_generative_training", "allowed", "AAA"),
        ("ai_generative_training", "perhaps", "RAA"),
        ("ai_training", "notAllowed", "ADA"),
        ("ai_inference", "notAllowed", "AAD"),
        ("data_mining", "notAllowed", "RRA"),
    ],
)
@pytest.mark.parametrize("active", [True, False])
def test_credential_entries_count_in_every_manifest(
    family: str, entry: str, use: str, verdicts: str, active: bool
) -> None:
    said = {"label": f"{family}.training-mining", "entry": f"{family}.{entry}", "use": use, "manifest": "urn:1"}
    assert letters({"c2pa": {"state": "Trusted", "training_mining": [said | {"active": active}]}}) == verdicts


def test_data_mining_gives_way_to_the_same_credentials_word_on_training() -> None:
    said = [
        {"entry": "cawg.data_mining", "use": "notAllowed", "manifest": "urn:1"},
        {"entry": "cawg.ai_generative_training", "use": "allowed", "manifest": "urn:1"},
    ]
    assert letters({"c2pa": {"state": "Valid", "training_mining": said}}) == "ARA"


def test_custom_credential_keys_are_read_by_a_person() -> None:
    said = [{"entry": "org.example.training", "use": "notAllowed", "manifest": "urn:1"}]
    assert letters({"c2pa": {"state": "Valid", "training_mining": said}}) == "RRR"


@pytest.mark.parametrize(
    ("credential", "verdicts"),
    [
        ({"state": "Valid"}, "AAA"),
        ({"state": "Invalid"}, "RRR"),
        ({"state": "Unreadable"}, "RRR"),
        ({"state": "Remote", "remote_url": "https://x"}, "RRR"),
        ({"state": None, "remote_url": "https://x"}, "RRR"),
        ({"state": "Trusted", "remote_url": "https://x"}, "AAA"),
    ],
)
def test_credential_states(credential: dict[str, Any], verdicts: str) -> None:
    assert letters({"c2pa": credential}) == verdicts


def test_a_restriction_counts_in_an_invalid_credential() -> None:
    said = [{"entry": "cawg.ai_generative_training", "use": "notAllowed", "manifest": "urn:1"}]
    assert letters({"c2pa": {"state": "Invalid", "training_mining": said}}) == "DRR"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (["noai"], "D"),
        (["NoImageAI"], "D"),
        (["noindex, noai"], "D"),
        (["noindex"], "A"),
        (["otherbot: noai, noimageai"], "A"),
        (["otherbot: noai", "noai"], "D"),
        (["imprimatur: noai"], "D"),
        (["noindex, Imprimatur: noai"], "D"),
        (["otherbot: noindex, imprimatur: noai"], "D"),
        (["*: noai"], "D"),
        (["unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noai"], "D"),
        (["max-image-preview: large, noai"], "D"),
    ],
)
def test_robots_headers(lines: list[str], verdict: str) -> None:
    assert letters({"headers": {"X-Robots-Tag": lines}}) == verdict * 3


@pytest.mark.parametrize(
    ("lines", "verdicts"),
    [
        (["train-ai=n, search=y"], "DAA"),
        (["train-ai=y"], "AAA"),
        (["train-ai=n;exceptions=x"], "DAA"),
        (["train-ai=y, train-ai=n"], "DAA"),
        (["train-ai=n", "train-ai=y"], "AAA"),  # one dictionary: the last key wins
        (['train-ai="n"'], "AAA"),
        (["train-ai=?0"], "AAA"),
        (["TRAIN-AI=n"], "AAA"),
        (["train-ai=n, ,,"], "AAA"),
    ],
)
def test_aipref_content_usage(lines: list[str], verdicts: str) -> None:
    assert letters({"headers": {"content-usage": lines}}) == verdicts


@pytest.mark.parametrize(("value", "verdict"), [("1", "D"), ("0", "A"), ("yes", "A"), ("0, 1", "D")])
def test_tdm_reservation(value: str, verdict: str) -> None:
    assert letters({"headers": {"TDM-Reservation": [value]}}) == verdict * 3


def test_what_cannot_be_read_is_reviewed() -> None:
    assert letters({"unreadable": ["xmp"]}) == "RRR"
    for facts in (
        "{",
        "[1]",
        '{"xmp": 3}',
        '{"headers": {"x-robots-tag": 7}, "c2pa": []}',
        '{"c2pa": {"training_mining": [4]}}',
    ):
        found = read_signals(facts, PURPOSES[0], ()).findings
        assert all(f.verdict is Verdict.REVIEW for f in found)
    assert read_signals("", PURPOSES[0], ()).findings == ()


JSON = st.recursive(st.none() | st.booleans() | st.text(max_size=8) | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["xmp", "headers", "c2pa", "state", "training_mining", "use", "entry", "plus:DataMining", "content-usage", "x-robots-tag", "unreadable"]), inner, max_size=4))  # fmt: skip  # noqa: E501


@given(JSON, st.sampled_from(USES))
def test_hostile_facts_never_raise(facts: Any, use: Any) -> None:
    read_signals(json.dumps(facts), Purpose(use, True), ("imprimatur",))


def test_an_embedded_permission_asks_a_person_and_lifts_nothing_else() -> None:
    allowed = json.dumps({"xmp": {"plus:DataMining": "http://ns.useplus.org/ldf/vocab/DMI-ALLOWED"}})
    assert answer(row("a", signals=allowed)) == ("review", ["LICENCE_EMBEDDED_ONLY"])
    assert answer(row("a", signals=allowed, licence="CC-BY-NC-4.0"))[0] == "deny"
    assert answer(row("a", signals=allowed, licence="All rights reserved"))[0] == "deny"
    assert answer(row("a", signals=allowed, licence="CC-BY-4.0"))[0] == "allow"
