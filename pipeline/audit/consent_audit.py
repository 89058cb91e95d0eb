"""The consent audit: one page that a lawyer can read, and the same facts as tables."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.audit.advice import advice
from pipeline.audit.attribution import write_credits
from pipeline.audit.consent_figures import SHOWN, Figures, ends_of, explanation, figures
from pipeline.audit.report import environment, stylesheet
from pipeline.audit.subject import Subject, cited
from pipeline.catalog.tables import STRINGS
from pipeline.core.shards import write_bytes, write_table
from pipeline.core.sheets import csv_bytes

CONSENT = pa.schema(
    [
        ("dataset", pa.string()),
        ("file", pa.string()),
        ("asset", pa.string()),
        ("decision", pa.string()),  # allow | review | deny
        ("used", pa.bool_()),  # allowed; of a snapshot: chosen
        ("reasons", STRINGS),
        ("explanation", pa.string()),  # the reasons in words
        ("advice", pa.string()),  # what would settle them
        ("licence", pa.string()),
        ("obligations", STRINGS),
        ("holders", STRINGS),
        ("depicts", STRINGS),
        ("evidence", STRINGS),
        ("documents", STRINGS),  # where the evidence of the events behind the decision is kept
        ("ends", pa.string()),  # when the first of the grants behind it ends, "" for never
        ("decision_in_90_days", pa.string()),
        ("attribution", pa.string()),
        ("source_url", pa.string()),
        ("collected_at", pa.string()),
    ]
)


def consent_table(subject: Subject) -> pd.DataFrame:
    """The audit as a table (CONSENT), one row for each accepted file."""
    rows = [
        {
            **{name: row[name] for name in ("dataset", "file", "asset", "decision", "used", "licence")},
            **{name: row[name] for name in ("attribution", "source_url", "collected_at")},
            **{name: list(row[name]) for name in ("reasons", "obligations", "holders", "depicts", "evidence")},
            "explanation": " ".join(explanation(code) for code in row["reasons"]),
            "advice": "" if row["decision"] == "allow" else " ".join(dict.fromkeys(map(advice, row["reasons"]))),
            "documents": list(
                dict.fromkeys(e.evidence for e in cited(row["evidence"], subject.events) if e.evidence)
            ),
            "ends": min(filter(None, ends_of(subject, row)), default=""),
            "decision_in_90_days": later,
        }
        for row, later in zip(subject.table.to_dict("records"), subject.later, strict=True)
    ]
    return pd.DataFrame(rows, columns=CONSENT.names)


def write_consent_audit(subject: Subject, folder: Path, made_at: str) -> dict[str, Path]:
    """Write consent-audit.html, .parquet and .csv, and attribution.csv; equal subjects give equal tables."""
    table, found = consent_table(subject), figures(subject)
    cells = [[_cell(value) for value in row] for row in table.itertuples(index=False, name=None)]
    return {
        "report": write_bytes(folder / "consent-audit.html", page(subject, found, made_at).encode()),
        "table": write_table(folder / "consent-audit.parquet", table, CONSENT),
        "sheet": write_bytes(folder / "consent-audit.csv", csv_bytes(CONSENT.names, cells)),
        "attribution": write_credits(subject, folder / "attribution.csv"),
    }


def page(subject: Subject, found: Figures, made_at: str) -> str:
    """The page: self-contained, without script, held to that by its own Content-Security-Policy."""
    return rendered("consent.html", subject=subject, found=found, made_at=made_at, shown=SHOWN)


def rendered(template: str, **facts: Any) -> str:
    """A page of this room, with the house's style."""
    digest = base64.b64encode(hashlib.sha256(stylesheet().encode()).digest()).decode()
    return environment("pipeline.audit").get_template(template).render(style_digest=digest, **facts)


def _cell(value: Any) -> Any:
    return "; ".join(value) if isinstance(value, list) else value
