"""A snapshot as a Croissant 1.1 dataset: JSON-LD with RAI documentation, provenance and ODRL usage conditions.

Croissant Format Specification 1.1, sections "Provenance Representation" and "Data Use Conditions"; Croissant RAI 1.0.
Neither has a word for training a generative model: the action is a term of our own, and says so.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.audit.attribution import licence_urls
from pipeline.audit.consent_figures import explanation
from pipeline.audit.subject import Subject, cited
from pipeline.catalog.tables import STRINGS
from pipeline.core.digests import file_sha256
from pipeline.core.shards import write_bytes, write_json, write_table
from pipeline.core.workspace import Workspace

ASSETS = pa.schema(
    [
        ("sha256", pa.string()),
        ("dataset", pa.string()),
        ("file", pa.string()),
        ("label", pa.string()),
        ("licence", pa.string()),
        ("holders", STRINGS),
        ("attribution", pa.string()),
        ("source_url", pa.string()),
    ]
)
_TERMS = (
    "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileObject "
    "fileProperty fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines "
    "recordSet references regex repeated replace samplingRate sdVersion separator source subField transform "
    "unArchive value"
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "imprimatur": "https://imprimatur.dev/terms/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in _TERMS.split()},
}


def write_croissant(workspace: Workspace, subject: Subject, folder: Path) -> dict[str, Path]:
    """Write croissant.json, assets.parquet and statement.json; equal snapshots give equal files."""
    assets = _assets(subject)
    table = write_table(folder / "assets.parquet", assets, ASSETS)
    signed = (workspace.snapshot(subject.snapshot) / "statement.json").read_bytes()
    statement = write_bytes(folder / "statement.json", signed)
    value = croissant(subject, len(assets), file_sha256(table), file_sha256(statement))
    return {"croissant": write_json(folder / "croissant.json", value), "assets": table, "statement": statement}


def croissant(subject: Subject, size: int, table_sha256: str, statement_sha256: str) -> dict[str, Any]:
    """The JSON-LD of a snapshot whose table of assets and signed statement have these digests."""
    used = subject.table[subject.table["used"]]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": f"imprimatur-snapshot-{subject.snapshot}",
        "description": (
            f"{size} images allowed for {subject.purpose}, as of {subject.as_of}, known at {subject.known_at}. "
            f"Signed Merkle root {subject.root}. The images themselves are not part of this description."
        ),
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "license": _licences(used) or ["https://spdx.org/licenses/NOASSERTION"],
        "usageInfo": _usage(subject, used),
        "version": "1.0.0",
        "datePublished": subject.as_of[:10],
        "citeAs": f"Imprimatur snapshot {subject.snapshot}, Merkle root {subject.root}",
        "url": f"urn:imprimatur:snapshot:{subject.snapshot}",
        "isLiveDataset": False,
        "prov:wasDerivedFrom": [
            {"@id": f"urn:imprimatur:dataset:{source.name}", "prov:label": source.source}
            for source in subject.sources
        ],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": "Rights decision and selection",
            "prov:endedAtTime": subject.as_of,
        },
        "distribution": [
            _file("assets.parquet", "application/x-parquet", table_sha256, "One row for each asset."),
            _file("statement.json", "application/json", statement_sha256, "DSSE envelope of the signed statement."),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "assets",
                "name": "assets",
                "key": {"@id": "assets/sha256"},
                "field": [_field(column.name) for column in ASSETS],
            }
        ],
        **_responsible_ai(subject, used),
    }


def _usage(subject: Subject, used: pd.DataFrame) -> dict[str, Any]:
    """Conditions as an ODRL offer: the purpose asked about, its limits, and the duties of the licences."""
    ends = sorted(
        {
            event.effective_until
            for evidence in used["evidence"]
            for event in cited(evidence, subject.events)
            if event.action == "grant" and event.effective_until
        }
    )
    constraints = []
    if not subject.purpose.commercial:
        constraints.append(_constraint("Non-commercial use only", "purpose", "neq", "imprimatur:commercial"))
    if "*" not in subject.policy.territories:
        constraints += [_constraint("Territory", "spatial", "eq", place) for place in subject.policy.territories]
    if ends:
        constraints.append(_constraint("Before the first grant ends", "dateTime", "lt", ends[0]))
    duties = {duty for each in used["obligations"] for duty in each}
    known = {"attribution": "odrl:attribute", "share-alike": "odrl:shareAlike", "notice": "odrl:attribute"}
    permission = {
        "@type": "odrl:Permission",
        "odrl:action": {"@id": f"imprimatur:{subject.purpose.use}", "odrl:includedIn": {"@id": "odrl:use"}},
        "odrl:constraint": constraints,
        "odrl:duty": [
            {"@type": "odrl:Duty", "odrl:action": {"@id": action}}
            for action in sorted({known[duty] for duty in duties if duty in known})
        ],
    }
    return {
        "@type": ["CreativeWork", "odrl:Offer"],
        "name": f"Allowed for {subject.purpose}",
        "odrl:permission": {key: value for key, value in permission.items() if value},
    }


def _constraint(name: str, left: str, operator: str, right: str) -> dict[str, Any]:
    return {
        "@type": "odrl:Constraint",
        "name": name,
        "odrl:leftOperand": {"@id": f"odrl:{left}"},
        "odrl:operator": {"@id": f"odrl:{operator}"},
        "odrl:rightOperand": right,
    }


def _responsible_ai(subject: Subject, used: pd.DataFrame) -> dict[str, Any]:
    people = sorted({person for each in used["depicts"] for person in each})
    refused = subject.table["reasons"][subject.table["decision"] != "allow"]
    left_out = Counter(str(code) for reasons in refused for code in reasons).most_common(10)
    collected = sorted(filter(None, used["collected_at"]))
    facts = {
        "rai:dataCollection": "; ".join(
            f"{one.name}: {one.source}, ingested {one.ingested_at}" for one in subject.sources
        ),
        "rai:dataCollectionTimeframe": [collected[0], collected[-1]] if collected else [],
        "rai:dataPreprocessingProtocol": [
            "Files that cannot be read as images are rejected.",
            "One of each group of near-duplicates is kept, and none of a group with a member that is not allowed.",
        ],
        "rai:dataLimitations": [f"{count} files left out: {explanation(code)}" for code, count in left_out],
        "rai:personalSensitiveInformation": [
            f"{len(people)} depicted people are named in the records; each has granted the use of their likeness."
            if people
            else "No depicted person is named in the records; pictures were not searched for people."
        ],
        "rai:dataUseCases": [str(subject.purpose)],
        "rai:dataReleaseMaintenancePlan": [
            "A withdrawal supersedes this snapshot; the next one leaves the asset out. History is kept."
        ],
    }
    return {name: value for name, value in facts.items() if value}


def _assets(subject: Subject) -> pd.DataFrame:
    used = subject.table[subject.table["used"]].drop_duplicates("asset").rename(columns={"asset": "sha256"})
    table: pd.DataFrame = used[ASSETS.names].sort_values("sha256").reset_index(drop=True)
    return table


def _licences(used: pd.DataFrame) -> list[str]:
    expressions = sorted(set(used["licence"]))
    return sorted({url for expression in expressions for url in licence_urls(expression)})


def _file(name: str, media_type: str, digest: str, description: str) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": name,
        "encodingFormat": media_type,
        "sha256": digest,
    }


def _field(column: str) -> dict[str, Any]:
    listed = {"isArray": True, "arrayShape": "-1"} if column == "holders" else {}
    return {
        "@type": "cr:Field",
        "@id": f"assets/{column}",
        "name": column,
        "dataType": "sc:Text",
        **listed,
        "source": {"fileObject": {"@id": "assets.parquet"}, "extract": {"column": column}},
    }
