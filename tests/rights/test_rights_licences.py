import pytest
from hypothesis import given
from hypothesis import strategies as st
from rights_inventory import answer, decisions, row

from pipeline.core.errors import ImprimaturError
from pipeline.rights.findings import Purpose, Verdict, parse_purpose
from pipeline.rights.licences import judge, normalise
from pipeline.rights.policy import Policy

COLUMNS = [parse_purpose(p) for p in (
    "train_generative:commercial", "train_generative", "train_other", "generate_input:commercial")]  # fmt: skip


def letters(text: str) -> str:
    return "".join(str(judge(normalise(text), purpose, {}).verdict)[0].upper() for purpose in COLUMNS)


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [  # the reference's table, line by line: GC GN CN IC
        ("CC0-1.0", "AAAA"),
        ("CC-BY-4.0", "AAAA"),
        ("CC-BY-SA-4.0", "RRAR"),
        ("CC-BY-NC-4.0", "DAAD"),
        ("CC-BY-NC-SA-4.0", "DRAD"),
        ("CC-BY-ND-4.0", "RRRD"),
        ("CC-BY-NC-ND-4.0", "DRRD"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "RRRR"),
        ("cc", "RRRR"),
        ("CC-BY-4.0 OR OR MIT", "RRRR"),
        ("No-Such-Licence-1.0", "RRRR"),
        ("LicenseRef-contract", "DDDD"),
        ("", "DDDD"),
        ("unknown", "DDDD"),
        ("other", "DDDD"),
        ("NOASSERTION", "DDDD"),
        ("All rights reserved", "DDDD"),
        # software licences
        ("MIT", "AAAA"),
        ("apache-2.0", "AAAA"),
        ("BSD-3-Clause", "AAAA"),
        ("ISC", "AAAA"),
        ("Unlicense", "AAAA"),
        ("GPL-3.0-or-later", "RRRR"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "RRRR"),
        ("MIT WITH no-such-exception", "RRRR"),
        # expressions
        ("CC-BY-NC-4.0 OR CC-BY-4.0", "AAAA"),
        ("CC-BY-4.0 AND CC-BY-NC-4.0", "DAAD"),
        ("MIT AND (CC0-1.0 OR LicenseRef-x)", "AAAA"),
        ("CC-BY-SA-4.0 AND LicenseRef-x", "DDDD"),
        # which version binds is unknown, but none of them allows this
        ("cc-by", "RRRR"),
        ("cc-by-nc", "DRRD"),
    ],
)
def test_table(text: str, verdicts: str) -> None:
    assert letters(text) == verdicts


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("http://creativecommons.org/licenses/by/4.0", "CC-BY-4.0"),
        ("https://www.creativecommons.org/licenses/by-nc-sa/3.0/de/deed.en", "CC-BY-NC-SA-3.0-DE"),
        ("https://creativecommons.org/licenses/by/4.0/legalcode.fr", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/deed.pt_BR", "CC-BY-4.0"),
        ("//creativecommons.org/licenses/by-sa/2.0/", "CC-BY-SA-2.0"),
        ("https://creativecommons.org/licenses/by/3.0/igo/", "CC-BY-3.0-IGO"),
        ("http://creativecommons.org/licenses/by-nd-nc/1.0/", "CC-BY-NC-ND-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/?ref=openverse&atype=rich", "CC0-1.0"),
        ("Creative Commons Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
        ("CC BY-SA 3.0 DE", "CC-BY-SA-3.0-DE"),
        ("cc-by-nc-nd-4.0", "CC-BY-NC-ND-4.0"),
        ("CC0", "CC0-1.0"),
        ("odc-by", "ODC-By-1.0"),
        ("https://opensource.org/license/mit/", "MIT"),
        (" MIT  or Apache-2.0 ", "MIT OR Apache-2.0"),
    ],
)
def test_spellings(text: str, expression: str) -> None:
    assert normalise(text).expression == expression


@pytest.mark.parametrize(
    "text",
    [
        "CC-BY-3.0 (default of license.txt; author not in its list)",
        "CC-BY-4.0 foo",
        "CC-BY-4.0 but ask me first",
        "https://example.com/terms",
        "free for non-commercial use",
        "MIT, CC-BY-4.0",
        "A" * 5000,
    ],
)
def test_free_text_is_never_taken_for_a_licence(text: str) -> None:
    assert normalise(text).state == "unreadable" and letters(text) == "RRRR"


@given(st.text() | st.from_regex(r"(\(|\)|CC-BY-4\.0| |AND|OR|WITH|MIT){0,40}", fullmatch=True))
def test_any_text_gets_a_verdict(text: str) -> None:
    assert letters(text).strip("ARD") == ""


@given(st.lists(st.sampled_from(["MIT", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "LicenseRef-x", "CC0-1.0"]), min_size=1))
def test_or_is_the_best_and_and_the_worst(names: list[str]) -> None:
    purpose = Purpose("train_generative", True)
    verdicts = [judge(normalise(name), purpose, {}).verdict for name in names]
    assert judge(normalise(" OR ".join(names)), purpose, {}).verdict == min(verdicts)
    assert judge(normalise(" AND ".join(names)), purpose, {}).verdict == max(verdicts)


def test_obligations_follow_the_chosen_branch() -> None:
    purpose = Purpose("train_generative", True)
    assert judge(normalise("CC-BY-4.0 OR CC0-1.0"), purpose, {}).obligations == ()
    assert judge(normalise("CC-BY-4.0 AND MIT"), purpose, {}).obligations == ("attribution", "notice")


def xmp(**properties: str) -> str:
    import json

    return json.dumps({"xmp": {name.replace("_", ":"): value for name, value in properties.items()}})


@pytest.mark.parametrize(
    ("item", "dataset", "signals", "decision", "reason"),
    [
        ("CC0-1.0", "CC-BY-4.0", "", "allow", "LICENCE_ALLOWS"),
        ("CC-BY-4.0", "other", "", "allow", "LICENCE_ALLOWS"),
        ("", "MIT", "", "allow", "LICENCE_ALLOWS"),
        ("CC-BY-4.0", "CC-BY-NC-4.0", "", "deny", "LICENCE_CONFLICT"),
        ("unknown", "CC0-1.0", "", "deny", "NO_LICENCE"),
        ("CC-BY-4.0", "", xmp(cc_license="http://creativecommons.org/licenses/by/3.0/"), "allow", "LICENCE_ALLOWS"),
        ("CC0-1.0", "", xmp(cc_license="http://creativecommons.org/licenses/by/3.0/"), "review", "LICENCE_CONFLICT"),
        ("CC0-1.0", "", xmp(cc_license="http://creativecommons.org/licenses/by-nc/4.0/"), "deny", "LICENCE_CONFLICT"),
        ("CC-BY-4.0", "", xmp(dc_rights="(c) X. All rights reserved."), "review", "LICENCE_CONFLICT"),
        ("CC-BY-4.0", "", xmp(dc_rights="(c) 2021 Ada"), "allow", "LICENCE_ALLOWS"),
        ("CC-BY-4.0", "", xmp(xmpRights_WebStatement="https://ada.example/rights"), "allow", "LICENCE_ALLOWS"),
        ("", "", xmp(cc_license="CC0-1.0"), "review", "LICENCE_EMBEDDED_ONLY"),
        ("", "", xmp(cc_license="CC-BY-NC-4.0"), "deny", "LICENCE_EMBEDDED_ONLY"),
        ("", "", xmp(dc_rights="All rights reserved"), "deny", "NO_LICENCE"),
    ],
)
def test_file_dataset_and_embedded_licence_together(
    item: str, dataset: str, signals: str, decision: str, reason: str
) -> None:
    given_row = row("a", licence=item, signals=signals)
    found, reasons = answer(given_row, licences={"d": dataset})
    assert found == decision and reason in reasons


def test_a_policy_tightens_all_licences_or_replaces_one() -> None:
    rows = [row("a", licence="CC-BY-4.0"), row("b", licence="CC-BY-SA-4.0"), row("c", licence="free text")]
    denying = decisions(rows, policy=Policy(licences={"*": "deny"}))
    assert denying["decision"].tolist() == ["deny"] * 3
    for name in ("CC-BY-SA-4.0", "cc-by-sa-4.0", "CC-BY-SA"):
        chosen = decisions(rows, policy=Policy(licences={"*": "review", name: "allow"}))
        assert chosen["decision"].tolist() == ["review", "allow", "review"]
    lifted = decisions([row("a"), row("b", licence="free text")], policy=Policy(licences={"*": "allow"}))
    assert lifted["decision"].tolist() == ["deny", "review"]


def test_a_misspelt_licence_in_a_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="CC-BY4"):
        Policy(licences={"CC-BY4.0": "deny"})


def test_unknown_purposes_are_named() -> None:
    assert parse_purpose("train_other:commercial") == Purpose("train_other", True)
    with pytest.raises(ImprimaturError, match="train_everything"):
        parse_purpose("train_everything")
    assert max(Verdict.ALLOW, Verdict.DENY, Verdict.REVIEW) is Verdict.DENY
