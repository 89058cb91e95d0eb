"""The sample set as files: whole, repeatable, and with every kind of right in it."""

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.digests import file_sha256
from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import load_job, load_settings
from pipeline.sample.definition import SampleDefinition
from pipeline.sample.plan import plan_files
from pipeline.sample.sample_set import SampleTotals, draw_sample_set

PROJECT = Path(__file__).parents[2]
DEFINITION = PROJECT / "data" / "sample.yaml"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> SampleTotals:
    return draw_sample_set(DEFINITION, tmp_path_factory.mktemp("sample") / "set", count=150)


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def signed(folder: Path) -> set[str]:
    return {row["file"] for row in rows(folder, ".expected.csv") if row["case"] == "signed-wish"}


def test_two_draws_give_the_same_bytes_but_for_signatures(drawn: SampleTotals, tmp_path: Path) -> None:
    again = draw_sample_set(DEFINITION, tmp_path / "set", count=150)
    first, second = digests(drawn.folder), digests(again.folder)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == signed(drawn.folder)


def test_a_complete_folder_is_left_as_it_is(drawn: SampleTotals) -> None:
    before = digests(drawn.folder)
    again = draw_sample_set(DEFINITION, drawn.folder, count=150)
    assert (drawn.drawn, again.drawn) == (True, False)
    assert digests(drawn.folder) == before
    assert (again.files, again.barred) == (drawn.files, drawn.barred)


def test_a_damaged_or_interrupted_set_is_drawn_again(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    draw_sample_set(DEFINITION, folder, count=80)
    whole = digests(folder)
    lost = next(name for name in sorted(whole) if name.startswith("textiles/") and name.endswith(".png"))
    (folder / lost).unlink()
    leftover = tmp_path / ".set.partial" / "textiles" / "half.png"  # what a kill leaves behind
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    assert draw_sample_set(DEFINITION, folder, count=80).drawn
    mended = digests(folder)
    assert {name for name in whole.keys() | mended.keys() if whole.get(name) != mended.get(name)} <= signed(folder)
    assert not leftover.parent.parent.exists()


def test_a_changed_definition_replaces_the_set(tmp_path: Path) -> None:
    draw_sample_set(DEFINITION, tmp_path / "set", count=80)
    other = tmp_path / "other.yaml"
    other.write_text(DEFINITION.read_text(encoding="utf-8").replace("seed: 7", "seed: 8"), encoding="utf-8")
    before = digests(tmp_path / "set")
    assert draw_sample_set(other, tmp_path / "set", count=80).drawn
    assert digests(tmp_path / "set") != before


def test_a_folder_with_something_else_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ImprimaturError, match="no sample set"):
        draw_sample_set(DEFINITION, tmp_path, count=80)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_misspelt_key_of_the_definition_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "sample.yaml"
    wrong.write_text(DEFINITION.read_text(encoding="utf-8").replace("share: 235", "shares: 235"), encoding="utf-8")
    with pytest.raises(ImprimaturError, match=r"(?s)shares: unknown key.*did you mean 'share'"):
        draw_sample_set(wrong, tmp_path / "set")


def test_no_key_stays_behind(drawn: SampleTotals) -> None:
    for path in drawn.folder.rglob("*"):
        if path.is_file():
            assert b"PRIVATE KEY" not in path.read_bytes()


def test_the_full_set_bars_about_a_third() -> None:
    definition = load_settings(DEFINITION, SampleDefinition)
    files = plan_files(definition, definition.count)
    free = sum(file.trained == "yes" for file in files) + len({file.group for file in files if file.trained == "one"})
    assert 2_900 <= len(files) <= 3_100
    assert 0.30 <= 1 - free / len(files) <= 0.38
    assert len({file.file for file in files}) == len(files)
    assert len({file.key for file in files}) == len(files)  # an ambiguous reference would go to review
    classes = [
        sum(file.label == label for file in files) for label in ("ceramics", "emblems", "landscapes", "textiles")
    ]
    assert min(classes) > 650


def test_a_small_set_keeps_every_case(drawn: SampleTotals) -> None:
    definition = load_settings(DEFINITION, SampleDefinition)
    everything = {file.case for file in plan_files(definition, definition.count)}
    assert {row["case"] for row in rows(drawn.folder, ".expected.csv")} == everything
    assert drawn.files < 200


def test_every_licence_of_the_decision_table_is_there(drawn: SampleTotals) -> None:
    written = {row["rights"] for row in rows(drawn.folder, "metadata.csv")}
    assert written >= {
        "CC0-1.0",
        "CC-BY-4.0",
        "http://creativecommons.org/licenses/by/4.0/deed.de",
        "CC-BY-SA-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-ND-4.0",
        "cc-by-nc-nd-4.0",
        "https://creativecommons.org/publicdomain/mark/1.0/",
        "cc",
        "LicenseRef-Halden-2025",
        "LicenseRef-Vance-Archive",
        "",
        "unknown",
        "other",
        "All rights reserved",
        "NOASSERTION",
    }
    assert any(" OR " in licence for licence in written)
    assert any(" AND " in licence for licence in written)


def test_every_kind_of_consent_event_is_there(drawn: SampleTotals) -> None:
    events = rows(drawn.folder, "consent-events.csv")
    assert {event["action"] for event in events} >= {"grant", "withdraw", "restrict"}
    assert {event["subject_type"] for event in events} == {"asset", "holder", "person", "dataset"}
    assert any(event["effective_from"] > "2099" for event in events)
    assert any(event["effective_until"] for event in events)
    assert any(event["territory"] != "*" for event in events)
    assert len({event["event_id"] for event in events}) == len(events)
    keys = {Path(row["path"]).stem for row in rows(drawn.folder, "metadata.csv")}
    assert {event["subject_id"] for event in events if event["subject_type"] == "asset"} <= keys


def test_marks_are_in_the_files_and_headers_beside_them(drawn: SampleTotals) -> None:
    by_case = {row["case"]: drawn.folder / row["file"] for row in rows(drawn.folder, ".expected.csv")}
    for case, term in {
        "mark-generative": "DMI-PROHIBITED-GENAIMLTRAINING",
        "mark-training": "DMI-PROHIBITED-AIMLTRAINING",
        "mark-mining": "DMI-PROHIBITED",
        "okafor-allowed": "DMI-ALLOWED",
    }.items():
        packet = Image.open(by_case[case]).getxmp()["xmpmeta"]["RDF"]["Description"]
        assert packet["DataMining"] == f"http://ns.useplus.org/ldf/vocab/{term}"
    headers = json.loads(by_case["header-robots"].with_suffix(".headers.json").read_text())
    assert headers == {"X-Robots-Tag": "noindex, noai"}


def test_the_signed_wish_can_be_read_back(drawn: SampleTotals) -> None:
    import c2pa

    (name,) = signed(drawn.folder)
    with c2pa.Reader("image/png", io.BytesIO((drawn.folder / name).read_bytes())) as reader:
        store = json.loads(reader.json())
    assertions = {a["label"]: a["data"] for a in store["manifests"][store["active_manifest"]]["assertions"]}
    assert assertions["cawg.training-mining"]["entries"]["cawg.ai_generative_training"]["use"] == "notAllowed"


def test_copies_are_what_they_claim(drawn: SampleTotals) -> None:
    expected = {row["file"]: row for row in rows(drawn.folder, ".expected.csv")}
    exact = [row for row in expected.values() if row["case"] in ("exact", "exact-stricter")]
    assert len(exact) >= 2
    for row in exact:
        assert file_sha256(drawn.folder / row["file"]) == file_sha256(drawn.folder / row["group"])
        assert expected[row["group"]]["decision"] == row["decision"]
    (stripped,) = [row for row in expected.values() if row["case"] == "stripped"]
    assert stripped["trained"] == "no"
    assert expected[stripped["group"]]["case"] == "mark-generative"


def test_broken_files_are_broken(drawn: SampleTotals) -> None:
    for row in rows(drawn.folder, ".expected.csv"):
        if row["decision"] != "rejected" or row["case"] in ("one-pixel", "transparent", "animation", "giant"):
            continue
        with pytest.raises((OSError, SyntaxError)):
            Image.open(drawn.folder / row["file"]).load()
    assert Image.open(drawn.folder / "broken/animation.gif").n_frames == 2
    with pytest.raises(Image.DecompressionBombError):
        Image.open(drawn.folder / "broken/giant.png")


def test_the_nightly_job_maps_the_table(drawn: SampleTotals) -> None:
    job = load_job(PROJECT / "configs" / "nightly.yaml")
    (dataset,) = job.datasets
    header = rows(drawn.folder, "metadata.csv")[0].keys()
    assert set(dataset.columns.values()) <= set(header)
    assert dataset.name == load_settings(DEFINITION, SampleDefinition).dataset  # events name the dataset
    assert (drawn.folder / dataset.consent[0].file).exists()
