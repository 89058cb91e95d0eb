"""Who must be credited: title, author, licence and source of every work whose licence asks for it."""

import re
from pathlib import Path
from typing import Any

from pipeline.audit.subject import Subject
from pipeline.core.shards import write_bytes
from pipeline.core.sheets import csv_bytes

COLUMNS = (
    "dataset", "file", "asset", "title", "author", "credit", "licence", "licence_url", "source", "share_alike",
)  # fmt: skip
_CREATIVE_COMMONS = re.compile(r"CC-(BY(?:-NC)?(?:-ND|-SA)?)-(\d\.\d)(?:-([A-Z]{2,3}))?")


def attribution_list(subject: Subject) -> list[dict[str, Any]]:
    """One row for each work used whose licence asks for attribution, in the dataset's order (COLUMNS).

    CC BY 4.0, section 3(a)(1): name, notice, licence and its address, a link to the material where reasonable.
    `credit` is the line as the source gives it; where it gives none, author and title stand in.
    """
    used = subject.table[subject.table["used"]]
    owing = used[[bool({"attribution", "notice", "share-alike"} & set(duties)) for duties in used["obligations"]]]
    return [_row(row) for row in owing.drop_duplicates("asset").to_dict("records")]


def write_credits(subject: Subject, path: Path) -> Path:
    """Write the list as a CSV that is safe to open in a spreadsheet."""
    return write_bytes(path, csv_bytes(COLUMNS, [list(row.values()) for row in attribution_list(subject)]))


def licence_urls(expression: str) -> list[str]:
    """Addresses of the licences that an SPDX expression names; a LicenseRef has none."""
    urls = []
    for identifier in re.findall(r"[A-Za-z0-9][A-Za-z0-9.+-]*", expression):
        if identifier in ("AND", "OR", "WITH") or identifier.startswith("LicenseRef"):
            continue
        urls.append(_licence_url(identifier))
    return list(dict.fromkeys(urls))


def _licence_url(identifier: str) -> str:
    if identifier == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if match := _CREATIVE_COMMONS.fullmatch(identifier):
        kind, version, port = match.groups()
        return f"https://creativecommons.org/licenses/{kind.lower()}/{version}/{port.lower() + '/' if port else ''}"
    return f"https://spdx.org/licenses/{identifier}.html"


def _row(row: dict[Any, Any]) -> dict[str, Any]:
    author = "; ".join(row["holders"])
    title = str(row["key"] or row["file"])
    return {
        "dataset": row["dataset"],
        "file": row["file"],
        "asset": row["asset"],
        "title": title,
        "author": author,
        "credit": row["attribution"] or ", ".join(filter(None, [author, title])),
        "licence": row["licence"],
        "licence_url": "; ".join(licence_urls(row["licence"])),
        "source": row["source_url"],
        "share_alike": "share-alike" in set(row["obligations"]),
    }
