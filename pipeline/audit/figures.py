"""The figures of a nightly report: everything counted, before anything is drawn."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from PIL import Image

from pipeline.audit.facts import NightlyReport
from pipeline.audit.words import counted, joined
from pipeline.catalog.tables import THUMBNAIL_SIDE

PUBLISHED_SHOWN = 240  # images of a batch that the page shows; the table holds them all
QUARANTINED_SHOWN = 120
FILES_SHOWN = 100
CREDITS_SHOWN = 300
FEW_HONEST = 100  # real pictures; of fewer, a rate of some percent cannot be told
_TEXT_SHOWN = 240


@dataclass(frozen=True)
class Reason:
    """A reason code with how often it was given and one example."""

    code: str
    explanation: str
    count: int
    decision: str = ""
    example: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Nearest:
    """A known asset that an output is close to, with what the audit knows about it."""

    asset: str
    distance: float
    picture: str
    file: str
    licence: str
    holders: str
    attribution: str
    decision: str
    in_training_set: bool
    reasons: list[str]
    evidence: str


@dataclass(frozen=True)
class Output:
    """One generated image as the grid shows it; `row` is its row of the batch table."""

    row: Mapping[str, Any]
    picture: str
    reasons: list[Reason]
    nearest: Nearest | None


@dataclass(frozen=True)
class Credit:
    """Somebody whom a licence says to credit, and for how many assets of the training set."""

    line: str
    licence: str
    assets: int


@dataclass(frozen=True)
class Figures:
    """All counts and lists of a report."""

    images: int
    published: int
    quarantined: int
    assets: int
    trained_on: int
    decisions: dict[str, int]  # assets by decision: allow, review, deny
    left_out: list[Reason]  # a partition: adds up to the assets not trained on
    recorded: list[Reason]  # every reason that a decision recorded; a file can have several
    quarantine: list[Reason]
    rejected: list[Reason]
    credits: list[Credit]
    uncredited: int  # assets that must be credited, but nobody is named
    near_copies: int  # images that were called near copies of training images
    shown_published: list[Output]
    shown_quarantined: list[Output]

    @property
    def not_trained_on(self) -> int:
        """Accepted assets that the model was not trained on."""
        return self.assets - self.trained_on

    @property
    def example(self) -> Output | None:
        """The output that the chain picture follows: the first published one with a nearest training asset."""
        known = [output for output in self.shown_published if output.nearest]
        trained = [output for output in known if output.nearest and output.nearest.in_training_set]
        return next(iter([*trained, *known, *self.shown_published]), None)


def figures(report: NightlyReport) -> Figures:
    """Count everything that the page and the terminal summary say."""
    batch = report.batch.sort_values("index")
    published = batch[batch["state"] == "published"]
    held = batch[batch["state"] != "published"]
    shown = held[held["verdict"] != "stopped"].head(QUARANTINED_SHOWN)
    known = _known_assets(report, pd.concat([published.head(PUBLISHED_SHOWN), shown]))
    credits = _credits(report)
    return Figures(
        images=len(batch),
        published=len(published),
        quarantined=len(held),
        assets=len(report.selection),
        trained_on=int(report.selection["selected"].sum()),
        decisions={name: int((report.selection["decision"] == name).sum()) for name in ("allow", "review", "deny")},
        left_out=_left_out(report),
        recorded=_recorded(report),
        quarantine=_by_list(report, held["reasons"]),
        rejected=_rejected(report),
        credits=[credit for credit in credits if credit.line],
        uncredited=sum(credit.assets for credit in credits if not credit.line),
        near_copies=sum("NEAR_COPY_OF_TRAINING" in given for given in batch["reasons"]),
        shown_published=[_output(report, row, known) for row in published.head(PUBLISHED_SHOWN).to_dict("records")],
        shown_quarantined=[_output(report, row, known) for row in shown.to_dict("records")],
    )


def headline(found: Figures) -> list[str]:
    """The report in two or three sentences."""
    lines = [f"{found.published:,} of {counted(found.images, 'image')} published; {found.quarantined:,} quarantined."]
    listed = sum(reason.count for reason in [*found.rejected, *found.quarantine] if reason.code == "HASH_LIST_MATCH")
    if listed:
        lines.append(f"{listed:,} on a safety hash list: a person must act, by your procedure for such finds.")
    lines.append(f"Trained on {found.trained_on:,} of {counted(found.assets, 'asset')}.")
    if found.not_trained_on:
        unused = found.decisions["allow"] - found.trained_on
        parts = [
            f"{found.decisions['deny']:,} are denied" if found.decisions["deny"] else "",
            f"{found.decisions['review']:,} await a person's review" if found.decisions["review"] else "",
            f"{unused:,} are allowed but set aside as near-duplicates" if unused else "",
        ]
        lines.append(f"Of the other {found.not_trained_on:,}, {joined([part for part in parts if part])}.")
    return lines


def near_copies(report: NightlyReport, found: Figures) -> str:
    """The share of near copies of training images beside the share among honest pictures."""
    honest = report.honest
    text = f"{found.near_copies:,} of {counted(found.images, 'image')}"
    if found.images:
        text += f" ({found.near_copies / found.images:.1%})"
    if honest.pictures < FEW_HONEST:
        return f"{text}; too few real pictures to say how many are expected of honest ones"
    return f"{text}; {honest.rate:.1%} expected, as of {honest.pictures:,} real pictures left out in turn"


def preview(data: bytes, side: int = 192) -> str:
    """A WebP data URI of an encoded picture, `side` pixels at most on its longer side."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.thumbnail((side, side))
        return _data_uri(picture.convert("RGB"), quality=88)


def thumbnail(pixels: bytes) -> str:
    """A WebP data URI of a thumbnail's 32x32 RGB bytes."""
    return _data_uri(Image.frombytes("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE), pixels), quality=80)


def _data_uri(picture: Image.Image, quality: int) -> str:
    sink = io.BytesIO()
    picture.save(sink, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()


def _left_out(report: NightlyReport) -> list[Reason]:
    """Accepted assets that were not selected, by the one reason the selection gives, most frequent first."""
    unused = report.selection[~report.selection["selected"].astype(bool)]
    groups = unused.groupby(["reason", "decision"], sort=True)
    reasons = [
        _reason(report, str(code), len(rows), decision=str(decision), example=str(rows["file"].iloc[0]))
        for (code, decision), rows in groups
    ]
    return sorted(reasons, key=lambda reason: -reason.count)


def _recorded(report: NightlyReport) -> list[Reason]:
    """Reasons in the decisions of files that were not allowed, each with an example and its evidence."""
    refused = report.decisions[report.decisions["decision"] != "allow"]
    each = refused.explode("reasons").dropna(subset=["reasons"])
    reasons = [
        _reason(
            report,
            str(code),
            len(rows),
            decision=str(decision),
            example=str(rows["file"].iloc[0]),
            evidence=_clipped("; ".join(rows["evidence"].iloc[0])),
        )
        for (code, decision), rows in each.groupby(["reasons", "decision"], sort=True)
    ]
    return sorted(reasons, key=lambda reason: -reason.count)


def _rejected(report: NightlyReport) -> list[Reason]:
    counts = report.rejected["reason"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return [_reason(report, str(code), int(count)) for code, count in counts.items()]


def _by_list(report: NightlyReport, lists: "pd.Series[Any]") -> list[Reason]:
    counts = lists.explode().dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return [_reason(report, str(code), int(count)) for code, count in counts.items()]


def _reason(report: NightlyReport, code: str, count: int, **more: str) -> Reason:
    return Reason(code, report.explanations.get(code, ""), count, **more)


def _credits(report: NightlyReport) -> list[Credit]:
    """Who must be credited for the training set: assets that it holds and whose licence asks for attribution."""
    owes = report.decisions["obligations"].map(lambda duties: "attribution" in list(duties)).astype(bool)
    owing = report.decisions[owes]
    trained = set(report.selection.loc[report.selection["selected"].astype(bool), "asset"])
    owing = owing[owing["asset"].isin(trained)].drop_duplicates("asset")
    lines = [text or ", ".join(holders) for text, holders in zip(owing["attribution"], owing["holders"], strict=True)]
    groups = owing.assign(line=lines).groupby(["line", "licence"], sort=True)
    credits = [Credit(str(line), str(licence), len(rows)) for (line, licence), rows in groups]
    return sorted(credits, key=lambda credit: -credit.assets)


def _known_assets(report: NightlyReport, shown: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Decision rows of the assets that the shown images are nearest to, by asset."""
    wanted = {near[0]["asset"] for near in shown["nearest"] if len(near)}
    trained = set(report.selection.loc[report.selection["selected"].astype(bool), "asset"])
    rows = report.decisions[report.decisions["asset"].isin(wanted)].to_dict("records")
    return {row["asset"]: {**row, "selected": row["asset"] in trained} for row in reversed(rows)}


def _output(report: NightlyReport, row: Mapping[Any, Any], known: Mapping[str, Mapping[str, Any]]) -> Output:
    image = report.images.get(int(row["index"]))
    nearest = row["nearest"][0] if len(row["nearest"]) else None
    return Output(
        row={str(name): value for name, value in row.items()},
        picture=preview(image) if image else "",
        reasons=[_reason(report, str(code), 1) for code in row["reasons"]],
        nearest=_nearest(report, nearest, known.get(nearest["asset"], {})) if nearest else None,
    )


def _nearest(report: NightlyReport, near: Mapping[str, Any], facts: Mapping[str, Any]) -> Nearest:
    picture = report.thumbnails.get(near["asset"])
    return Nearest(
        asset=near["asset"],
        distance=float(near["distance"]),
        picture=thumbnail(picture) if picture else "",
        file=f"{facts['dataset']}: {facts['file']}" if facts else "",
        licence=facts.get("licence", ""),
        holders=", ".join(facts.get("holders", [])),
        attribution=facts.get("attribution", ""),
        decision=facts.get("decision", ""),
        in_training_set=bool(facts.get("selected", False)),
        reasons=list(facts.get("reasons", [])),
        evidence=_clipped("; ".join(facts.get("evidence", []))),
    )


def _clipped(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"
