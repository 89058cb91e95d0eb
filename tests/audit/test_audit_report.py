"""The nightly report: one page that stands alone, says the right figures and lets nothing hostile through."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import audit_sample
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit import words
from pipeline.audit.curves import HEIGHT, WIDTH, curves
from pipeline.audit.figures import figures, headline
from pipeline.audit.report import HonestFacts, NightlyReport, SignerFacts, summary_text, write_report

REPORT = audit_sample.report(assets=40, images=20)
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&{{7*7}}.png"


class Page(HTMLParser):
    """Tags, attributes and readable text of a page, and whether every element is closed in order."""

    VOID = ("meta", "img", "br", "link", "input", "rect", "polyline")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def rendered(report: NightlyReport, folder: Path) -> str:
    return write_report(report, folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return rendered(REPORT, tmp_path_factory.mktemp("report"))


def test_the_page_stands_alone(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert sources and all(source and source.startswith("data:image/webp;base64,") for source in sources)
    assert not re.search(r"https?://|@import|url\(", html)
    assert not any(name == "style" or name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_its_policy_admits_its_own_style_and_nothing_else(html: str) -> None:
    import base64
    import hashlib

    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in html


def test_the_headline_gives_the_figures_of_the_tables(html: str) -> None:
    lines = headline(figures(REPORT))
    assert lines == [
        "18 of 20 images published; 2 quarantined.",
        "Trained on 24 of 40 assets.",
        "Of the other 16, 8 are denied, 4 await a person's review and 4 are allowed but set aside "
        "as near-duplicates.",
    ]
    text = Page(html).text
    assert all(line in text for line in lines)


def test_reasons_for_leaving_assets_out_add_up_and_are_explained(html: str) -> None:
    found = figures(REPORT)
    assert {reason.code: reason.count for reason in found.left_out} == {
        "CONSENT_WITHDRAWN": 4, "LICENCE_CONFLICT": 4, "NEAR_DUPLICATE": 4, "NO_LICENCE": 4,
    }  # fmt: skip
    assert sum(reason.count for reason in found.left_out) == found.not_trained_on == 16
    text = Page(html).text
    for reason in found.left_out:
        assert reason.code in text and audit_sample.EXPLANATIONS[reason.code] in text
    assert {reason.code for reason in found.recorded} == {"CONSENT_WITHDRAWN", "LICENCE_CONFLICT", "NO_LICENCE"}
    assert all(reason.evidence for reason in found.recorded)


def test_each_image_shows_its_credential_and_published_ones_come_first(html: str) -> None:
    text = Page(html).text
    for row in REPORT.batch.to_dict("records"):
        assert all(str(row[name]) in text for name in ("output", "file_sha256", "watermark", "manifest"))
    grid = re.findall(r"<details(.*?)>\s*<summary>\s*<img[^>]*alt=\"Image (\d+),", html)
    published = REPORT.batch.loc[REPORT.batch["state"] == "published", "index"].tolist()
    assert [int(index) for _, index in grid] == [*published, 4, 13]
    assert [int(index) for attributes, index in grid if "held-image" in attributes] == [4, 13]


def test_who_must_be_credited_is_listed_for_the_training_set_only(html: str) -> None:
    found = figures(REPORT)
    assert sum(credit.assets for credit in found.credits) == found.trained_on and found.uncredited == 0
    assert {credit.line for credit in found.credits} == {f"Atelier {number}" for number in range(4)}


def test_an_uncredited_obligation_is_said() -> None:
    decisions = REPORT.decisions.assign(attribution="", holders=[[] for _ in REPORT.decisions.index])
    found = figures(replace(REPORT, decisions=decisions))
    assert found.credits == [] and found.uncredited == found.trained_on


def test_a_development_identity_is_called_one(html: str, tmp_path: Path) -> None:
    assert "development identity" in html and "development identity" in summary_text(REPORT)
    real = replace(REPORT, signer=SignerFacts("Example Studio", False))
    text = Page(rendered(real, tmp_path)).text
    assert "Example Studio" in text and "development identity" not in text + summary_text(real)


def test_a_model_that_was_fed_something_else_is_called_out(html: str, tmp_path: Path) -> None:
    assert "computed this same root" in Page(html).text
    other = rendered(replace(REPORT, model=replace(REPORT.model, root="9" * 64)), tmp_path)
    assert "The model was fed something else" in other and "computed this same root" not in other


def test_hostile_names_and_reasons_stay_text(tmp_path: Path) -> None:
    def poisoned(frame: pd.DataFrame, *lists: str) -> pd.DataFrame:
        texts = [
            c for c in frame.columns if frame[c].map(type).eq(str).all() and c not in ("asset", "state", "decision")
        ]
        changed = frame.assign(**dict.fromkeys(texts, HOSTILE))
        return changed.assign(**{name: [[HOSTILE] for _ in changed.index] for name in lists})

    report = replace(
        REPORT, job=HOSTILE, run=HOSTILE, home=HOSTILE, signer=SignerFacts(HOSTILE, True),
        datasets=REPORT.datasets.assign(dataset=HOSTILE), rejected=poisoned(REPORT.rejected),
        decisions=poisoned(REPORT.decisions, "reasons", "evidence", "holders"),
        selection=poisoned(REPORT.selection, "holders"), batch=poisoned(REPORT.batch, "reasons"),
        model=replace(REPORT.model, id=HOSTILE, classes=(HOSTILE,), metrics=({HOSTILE: 1}, {HOSTILE: 2})),
        snapshot=replace(REPORT.snapshot, id=HOSTILE, purpose=HOSTILE, as_of=HOSTILE),
        explanations={HOSTILE: HOSTILE},
    )  # fmt: skip
    html = rendered(report, tmp_path)
    page = Page(html)
    assert page.open == [] and page.text.count("<script>alert(1)</script>") > 30
    assert "<script" not in html and "<img src=x" not in html
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in Page(rendered(REPORT, tmp_path)).tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = summary_text(replace(REPORT, signer=SignerFacts("evil\x1b[2J\nstudio", False)))
    assert "\x1b" not in text and len(text.splitlines()) == 11


def test_the_summary_is_eleven_plain_lines() -> None:
    lines = summary_text(REPORT).splitlines()
    assert len(lines) == 11
    assert lines[1] == "ingested    41 files seen, 1 rejected, 40 assets"
    assert lines[2] == "decided     allow 28, review 4, deny 8"
    assert lines[7] == "images      18 of 20 published, 2 quarantined"


def test_equal_reports_are_equal_bytes(html: str, tmp_path: Path) -> None:
    assert rendered(audit_sample.report(assets=40, images=20), tmp_path) == html


def test_a_nightly_batch_of_120_stays_below_two_megabytes(tmp_path: Path) -> None:
    report = audit_sample.report(assets=200, images=120)
    noise = np.random.default_rng(0).integers(0, 255, (120, 64, 64, 3), dtype=np.uint8)  # nothing compresses worse
    images = {index: audit_sample.png(noise[index]) for index in range(120)}
    assert write_report(replace(report, images=images), tmp_path / "r.html").stat().st_size < 2_000_000


def test_a_large_batch_is_cut_and_says_so(tmp_path: Path) -> None:
    batch = pd.concat([REPORT.batch] * 500, ignore_index=True)
    batch = batch.assign(index=range(len(batch)))
    html = rendered(replace(REPORT, batch=batch, images=dict.fromkeys(range(10_000), REPORT.images[0])), tmp_path)
    text = Page(html).text
    assert "9,000 of 10,000 images published" in text
    assert "The first 240 are shown; all 9,000 are in batches/nightly-7/batch.parquet" in text
    assert "The first 120 are shown; all 1,000 are in" in text
    assert html.count('alt="Image ') == 360 and len(html) < 4_000_000


def test_a_night_without_images_or_training_still_reports(tmp_path: Path) -> None:
    empty = replace(
        REPORT, stages=(), rejected=REPORT.rejected[:0], decisions=REPORT.decisions[:0],
        selection=REPORT.selection[:0], batch=REPORT.batch[:0], images={},
        model=replace(REPORT.model, metrics=(), samples=b"", reused=True),
    )  # fmt: skip
    text = Page(rendered(empty, tmp_path)).text
    assert "0 of 0 images published" in text and "reused" in text
    assert len(summary_text(empty).splitlines()) == 11


def test_an_image_whose_nearest_asset_is_of_another_dataset_says_that_it_is_not_decided(tmp_path: Path) -> None:
    batch = REPORT.batch.assign(nearest=[[{"asset": "9" * 64, "distance": 0.5}] for _ in REPORT.batch.index])
    text = Page(rendered(replace(REPORT, batch=batch), tmp_path)).text
    assert "not among this run's decisions" in text and "9" * 64 in text


def test_a_curve_runs_from_left_to_right_and_a_falling_loss_falls() -> None:
    (loss,) = curves([{"step": 10 * k, "loss": 5.0 - k, "note": "text"} for k in range(5)])
    points = [tuple(map(float, point.split(","))) for point in loss.raw.split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points) and points[0][0] < points[-1][0]
    assert [y for _, y in points] == sorted(y for _, y in points)  # downward on the screen
    assert (loss.name, loss.clock, loss.start, loss.end) == ("loss", "step", 0, 40)
    assert (loss.first, loss.last, loss.low, loss.high) == (5, 1, 1, 5)


def test_each_training_stage_has_its_own_curve_and_rates_are_not_losses() -> None:
    rows = [
        {"stage": stage, "stage_number": place, "step": step, "steps": 3, "loss": 1.0 / (1 + step), "rate": 1e-3}
        for place, stage in enumerate(("autoencoder", "prior"))
        for step in range(3)
    ]
    assert [curve.name for curve in curves(rows)] == ["autoencoder: loss", "prior: loss"]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=0, max_size=600))
def test_any_metric_is_drawn_inside_its_frame_and_lost_values_are_counted(values: list[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    drawn = curves([{"step": place, "loss": value} for place, value in enumerate(values)])
    assert len(drawn) == (len(finite) >= 2)
    for curve in drawn:
        assert curve.not_finite == len(values) - len(finite)
        for point in f"{curve.raw} {curve.smooth}".split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (7512, "2 h 05 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_figures_read_well() -> None:
    assert [words.number(n) for n in (0, 1987, 0.123456, 12345.6, -3)] == ["0", "1,987", "0.123", "12,346", "-3"]
    assert words.counted(1, "asset") == "1 asset" and words.counted(1987, "asset") == "1,987 assets"
    assert words.moment("2026-11-24T02:00:00.000000Z") == "24 November 2026, 02:00:00 UTC"
    assert words.moment("2026-11-24T02:00:00+02:00") == "24 November 2026, 00:00:00 UTC"
    assert words.joined(["a"]) == "a" and words.joined(["a", "b", "c"]) == "a, b and c" and words.joined([]) == ""


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_share_never_rounds_something_to_nothing_or_most_to_all(part: int, whole: int) -> None:
    part = min(part, whole)
    text = words.share(part, whole)
    assert (text == "0 %") == (part == 0) and (text == "100 %") == (part == whole)


def test_the_models_figures_stand_beside_those_of_real_images(tmp_path: Path) -> None:
    page = Page(rendered(REPORT, tmp_path))
    assert "measured on 400 images" in page.text
    assert "distance 2.500 2.250 to 2.750 0.125" in page.text
    assert "Fewer than 20 images of <satin>" in page.text
    unmeasured = replace(REPORT, model=replace(REPORT.model, evaluation={}))
    assert "Beside real images" not in Page(rendered(unmeasured, tmp_path)).text


def test_near_copies_stand_beside_what_is_expected_of_honest_pictures(tmp_path: Path) -> None:
    page = Page(rendered(REPORT, tmp_path))
    assert "Near copies of training images: 0 of 20 images (0.0%); 1.2% expected" in page.text
    few = replace(REPORT, honest=HonestFacts(40, 0.0))
    assert "too few real pictures to say" in Page(rendered(few, tmp_path)).text and "expected of" in summary_text(few)
