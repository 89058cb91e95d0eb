"""The nightly report: one self-contained HTML page that can be read, printed and archived without this program."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.audit import words
from pipeline.audit.curves import HEIGHT, WIDTH, curves
from pipeline.audit.facts import HonestFacts, ModelFacts, NightlyReport, SignerFacts, SnapshotFacts, StageRow
from pipeline.audit.figures import (
    CREDITS_SHOWN,
    FILES_SHOWN,
    PUBLISHED_SHOWN,
    QUARANTINED_SHOWN,
    figures,
    headline,
    near_copies,
    preview,
)
from pipeline.core.shards import write_bytes
from pipeline.core.sheets import printable
from pipeline.core.workspace import Workspace

__all__ = [
    "HonestFacts",
    "ModelFacts",
    "NightlyReport",
    "SignerFacts",
    "SnapshotFacts",
    "StageRow",
    "report_path",
    "stylesheet",
    "summary_text",
    "write_report",
]


def report_path(workspace: Workspace, run: str) -> Path:
    """Where the report of a run lies: batches/<run>/report/report.html."""
    return workspace.batch(run) / "report" / "report.html"


def write_report(report: NightlyReport, path: Path) -> Path:
    """Write the report as one HTML file, atomically. Equal reports give equal bytes.

    The page has no script and loads nothing; its own Content-Security-Policy holds it to that. Of a large batch it
    shows the first 240 published and 120 quarantined images, says so, and names the table that holds them all.
    """
    found = figures(report)
    page = (
        environment("pipeline.audit")
        .get_template("report.html")
        .render(
            report=report,
            found=found,
            headline=headline(found),
            near_copies=near_copies(report, found),
            curves=curves(report.model.metrics),
            samples=preview(report.model.samples, side=960) if report.model.samples else "",
            style_digest=base64.b64encode(hashlib.sha256(stylesheet().encode()).digest()).decode(),
            view_box=f"0 0 {WIDTH} {HEIGHT}",
            limits={
                "files": FILES_SHOWN,
                "credits": CREDITS_SHOWN,
                "published": PUBLISHED_SHOWN,
                "held": QUARANTINED_SHOWN,
            },
        )
    )
    return write_bytes(path, page.encode())


def summary_text(report: NightlyReport) -> str:
    """The report in eleven lines for a terminal."""
    found = figures(report)
    seen, rejected = int(report.datasets["seen"].sum()), int(report.datasets["rejected"].sum())
    left_out = [f"{reason.code} {reason.count:,}" for reason in found.left_out]
    held = [f"{reason.code} {reason.count:,}" for reason in found.quarantine]
    model, snapshot, signer = report.model, report.snapshot, report.signer
    signed_by = f"{signer.common_name} (development identity, nobody else trusts it)"
    rows = [
        ("run", f"{report.run}, {words.duration(sum(stage.seconds for stage in report.stages))}"),
        (
            "ingested",
            f"{words.counted(seen, 'file')} seen, {rejected:,} rejected, {words.counted(found.assets, 'asset')}",
        ),
        ("decided", ", ".join(f"{decision} {count:,}" for decision, count in found.decisions.items())),
        ("trained on", f"{found.trained_on:,} of {words.counted(found.assets, 'asset')}"),
        ("left out", _listed(left_out)),
        ("snapshot", f"{snapshot.id}, root {words.short(snapshot.root, 16)}"),
        ("model", f"{model.id} ({model.kind}, {'reused' if model.reused else 'trained'})"),
        ("images", f"{found.published:,} of {found.images:,} published, {found.quarantined:,} quarantined"),
        ("held back", _listed(held)),
        ("near copies", near_copies(report, found)),
        ("signed by", signed_by if signer.development else signer.common_name),
    ]
    return "\n".join(f"{name:<12}{''.join(filter(str.isprintable, text))}" for name, text in rows)


@cache
def stylesheet() -> str:
    """The style of every page here, as CSS."""
    return environment("pipeline.audit").get_template("style.css").render()


@cache
def environment(package: str) -> Environment:
    """Templates of a package, with everything escaped and our filters for numbers and moments."""
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": words.number,
        "day": words.day,
        "uses": words.uses,
        "printable": printable,
        "duration": words.duration,
        "moment": words.moment,
        "purpose": words.purpose,
        "short": words.short,
    }
    made.globals |= {"counted": words.counted, "share": words.share}
    return made


def _listed(parts: list[str]) -> str:
    shown = ", ".join(parts[:4]) or "nothing"
    return f"{shown} and {len(parts) - 4} more" if len(parts) > 4 else shown
