"""The consent audit: read by a lawyer, opened in a spreadsheet, complete."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import mlcroissant
import pytest
from impact_studio import APRIL, DAY, JANUARY, JUNE, MAY, PURPOSE, Studio, asset, digest, event

from pipeline.audit.attribution import attribution_list, licence_urls
from pipeline.audit.consent_audit import CONSENT, write_consent_audit
from pipeline.audit.consent_figures import figures
from pipeline.audit.croissant import write_croissant
from pipeline.audit.disclosure import write_disclosures
from pipeline.audit.subject import Subject, dataset_subject, snapshot_subject
from pipeline.core.shards import read_table
from pipeline.rights.policy import Policy

AUGUST = DAY.format(month=8)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """One file for each kind of answer."""
    rows = [
        asset("by", attribution="Ada, by", source_url="https://example.org/by", collected_at=JANUARY),
        asset("=cmd()", holders=["@Bela; =1+1"], licence="CC-BY-SA-4.0"),
        asset("gnp\u202e.exe\n", licence="LicenseRef-contract", holders=["Cara"], depicts=["Dora"]),
        asset("none", licence="", holders=["Eve"]),
        asset("nc", licence="CC-BY-NC-4.0"),
        asset("gone", holders=["Finn"]),
        asset("zero", licence="CC0-1.0"),
    ]
    made = Studio(tmp_path / "home", rows)
    made.say(
        event("contract-1", "grant", "Cara", "holder", recorded_at=JANUARY, effective_until=AUGUST, evidence="c.pdf"),
        event("face-1", "grant", "Dora", "person", recorded_at=JANUARY, uses="likeness", evidence="face.pdf"),
        event("letter-1", "withdraw", "Finn", "holder", recorded_at=APRIL, evidence="<b>letter</b>.eml"),
        event("claim-1", "withdraw", "d:by", recorded_at=MAY, effective_from=JUNE, actor="Nobody We Know"),
    )
    return made


def subject(studio: Studio, as_of: str = MAY) -> Subject:
    return dataset_subject(studio.workspace, ["d"], PURPOSE, Policy(), as_of, as_of)


def test_who_consented_to_what_on_what_evidence_and_what_is_missing(studio: Studio) -> None:
    found = figures(subject(studio))
    assert found.decisions == {"allow": 3, "review": 1, "deny": 3}
    (grant,) = found.grants
    assert grant.event is not None
    assert (grant.event.event_id, grant.assets, grant.holders) == ("contract-1", 1, "Cara")
    assert [(one.name, one.assets) for one in found.licences] == [("CC-BY-4.0", 1), ("CC0-1.0", 1)]
    (closing,) = found.closings
    assert closing.event is not None and closing.event.event_id == "letter-1"
    assert {row.code: row.assets for row in found.missing} == {
        "CONSENT_WITHDRAWN": 1, "LICENCE_NONCOMMERCIAL": 1, "NO_LICENCE": 1
    }  # fmt: skip
    assert all(row.explanation and row.advice for row in found.missing)
    (question,) = found.conflicts
    assert question.reasons[0][0] == "LICENCE_SHARE_ALIKE" and question.evidence == [
        "stated licence: CC-BY-SA-4.0 (file)"
    ]


def test_what_ends_in_ninety_days_is_on_the_page_before_it_does(studio: Studio) -> None:
    early, near = figures(subject(studio, DAY.format(month=4))), figures(subject(studio, JUNE))
    assert (early.ending, early.lost_soon) == ([], [])
    assert [ground.name for ground in near.ending] == ["contract-1"]
    lost = {row["file"]: (row["later"], row["ends"]) for row in near.lost_soon}
    assert lost == {"d: gnp\u202e.exe\n.png": ("deny", AUGUST)}
    assert [one.reasons[0][0] for one in near.conflicts] == ["CLAIM_UNVERIFIED", "LICENCE_SHARE_ALIKE"]


class Page(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def self_contained(path: Path) -> str:
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert not page.links and not page.tags & {"script", "iframe", "link", "object"}
    assert "default-src 'none'" in text and "\u202e" not in text
    return text


def test_the_page_is_self_contained_and_shows_odd_names_harmlessly(studio: Studio, tmp_path: Path) -> None:
    written = write_consent_audit(subject(studio), tmp_path / "out", MAY)
    text = self_contained(written["report"])
    assert "3 of 7 assets may be used; 1 awaits a person; 3 may not." in text
    assert "&lt;b&gt;letter&lt;/b&gt;.eml" in text and "<b>letter" not in text
    assert "contract-1" in text and "c.pdf" in text
    later = write_consent_audit(subject(studio, JUNE), tmp_path / "later", JUNE)["report"].read_text()
    assert "gnp\\u202e.exe\\n.png" in later


def test_the_tables_hold_everything_and_no_formula(studio: Studio, tmp_path: Path) -> None:
    written = write_consent_audit(subject(studio), tmp_path / "out", MAY)
    table = read_table(written["table"])
    assert list(table.columns) == CONSENT.names and len(table) == 7
    assert set(table.file) == {row["file"] for row in studio.rows}, "exact in Parquet"
    row = table.set_index("file").loc["gone.png"]
    assert list(row.documents) == ["<b>letter</b>.eml"] and row.decision == "deny" and row.advice
    with written["sheet"].open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert len(rows) == 7 and list(rows[0]) == CONSENT.names
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if re.search(r"(^|[;,|])\s*[=+\-@]", cell)]
    assert "'=cmd().png" in {row["file"] for row in rows}


def test_the_credits_name_title_author_licence_and_source(studio: Studio) -> None:
    (row,) = attribution_list(subject(studio))
    assert (row["title"], row["author"], row["credit"], row["licence"]) == ("by", "Ada", "Ada, by", "CC-BY-4.0")
    assert (row["licence_url"], row["source"]) == (
        "https://creativecommons.org/licenses/by/4.0/", "https://example.org/by"
    )  # fmt: skip
    allowing = Policy(licences={"CC-BY-SA-4.0": "allow"})
    rows = attribution_list(dataset_subject(studio.workspace, ["d"], PURPOSE, allowing, MAY, MAY))
    assert [row["share_alike"] for row in rows] == [False, True]
    assert rows[1]["credit"] == "@Bela; =1+1, =cmd()"


@pytest.mark.parametrize(
    ("expression", "urls"),
    [
        ("CC-BY-NC-SA-3.0-DE", ["https://creativecommons.org/licenses/by-nc-sa/3.0/de/"]),
        ("CC0-1.0", ["https://creativecommons.org/publicdomain/zero/1.0/"]),
        (
            "(CC-BY-4.0 OR MIT)",
            ["https://creativecommons.org/licenses/by/4.0/", "https://spdx.org/licenses/MIT.html"],
        ),
        ("LicenseRef-Halden-2025", []),
        ("", []),
    ],
)
def test_licences_have_addresses(expression: str, urls: list[str]) -> None:
    assert licence_urls(expression) == urls


def test_a_snapshot_is_shown_as_signed_and_as_it_stands_today(studio: Studio, tmp_path: Path) -> None:
    shot = studio.snapshot(MAY)
    studio.say(event("late", "withdraw", "Ada", "holder", recorded_at=JUNE))
    seen = snapshot_subject(studio.workspace, shot.id, JUNE)
    found = figures(seen)
    assert found.decisions["allow"] == 3 and found.used == 3, "as signed"
    text = self_contained(write_consent_audit(seen, tmp_path / "out", JUNE)["report"])
    assert "It is superseded" in text and shot.root in text
    assert {row["file"] for row in found.lost_soon} == {"d: by.png", "d: zero.png", "d: gnp\u202e.exe\n.png"}


def test_croissant_is_valid_and_its_records_can_be_read(studio: Studio, tmp_path: Path) -> None:
    shot = studio.snapshot(MAY)
    written = write_croissant(studio.workspace, snapshot_subject(studio.workspace, shot.id, MAY), tmp_path / "out")
    dataset = mlcroissant.Dataset(written["croissant"])
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    assert [str(one) for one in dataset.metadata.conforms_to] == [
        "http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"
    ]  # fmt: skip
    assert dataset.metadata.personal_sensitive_information and dataset.metadata.data_use_cases
    records = list(dataset.records("assets"))
    assert [one["assets/sha256"].decode() for one in records] == sorted(
        map(digest, ["by", "gnp\u202e.exe\n", "zero"])
    )
    offer = dataset.metadata.to_json()
    assert offer["name"] == f"imprimatur-snapshot-{shot.id}"
    text = written["croissant"].read_text()
    assert '"odrl:Offer"' in text and '"imprimatur:train_generative"' in text and AUGUST in text
    assert str(studio.workspace.home) not in text, "no path of this machine leaves it"


def test_the_two_summaries_are_drafts_filled_from_the_records(studio: Studio, tmp_path: Path) -> None:
    shot = studio.snapshot(MAY)
    studio.model("m", shot, JUNE)
    seen = snapshot_subject(studio.workspace, shot.id, JUNE)
    written = write_disclosures(studio.workspace, seen, tmp_path / "out", JUNE)
    european, californian = (self_contained(written[name]) for name in ("eu_summary", "california"))
    for heading in ("1 General information", "2 Data sources", "3 Data processing", "2.5 Synthetic data"):
        assert heading in european
    for number in range(1, 13):
        assert f"<h3>({number}) " in californian
    for text in (european, californian):
        assert "Draft for a person" in text and "secondary sources" in text and "no legal advice" in text
        assert text.count("For a person:") > 5
    assert "Model m (vae), trained 1 June 2026." in european and "example.org" in european
    assert "1 image in use rest on grants on record, of Cara" in european.replace("\n", " ")
    assert "1 depicted person named in the records" in californian
