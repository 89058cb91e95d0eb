"""Drafts of two public summaries of training content, filled from what is on record; the rest is left to a person."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
from sqlalchemy import select

from pipeline.audit.consent_audit import rendered
from pipeline.audit.subject import Subject, cited, says_synthetic
from pipeline.audit.words import counted, day, joined
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import models
from pipeline.core.shards import write_bytes
from pipeline.core.workspace import Workspace

_OPT_OUTS = re.compile(r"SIGNAL_|RELATIVE_PROHIBITED")


@dataclass(frozen=True)
class Item:
    """One point of a summary: what is asked, what the records say, what only a person can say."""

    heading: str
    answers: list[str]
    person: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Disclosure:
    """A summary, whole. `certainty` says where its headings come from and how far that was checked."""

    title: str
    lead: str
    certainty: list[str]
    sections: list[tuple[str, list[Item]]]


@dataclass(frozen=True)
class Facts:
    """What both summaries draw on."""

    subject: Subject
    used: pd.DataFrame
    trained: list[tuple[str, str, str, str]]  # models of this root: id, kind, trained at, base

    @property
    def licensed(self) -> pd.DataFrame:
        """Used files that a grant allows."""
        return self.used[self.used["reasons"].map(lambda reasons: "GRANT" in list(reasons)).astype(bool)]

    @property
    def public(self) -> pd.DataFrame:
        """Used files that a licence allows by itself."""
        return self.used[~self.used["reasons"].map(lambda reasons: "GRANT" in list(reasons)).astype(bool)]

    @property
    def licences(self) -> list[tuple[str, ...]]:
        """Licences of what is used, with how many files."""
        counts = Counter(str(licence) or "none stated" for licence in self.used["licence"])
        return [(licence, f"{count:,}") for licence, count in counts.most_common()]

    @property
    def period(self) -> str:
        """When the data were collected, as far as the records say."""
        moments = sorted(filter(None, self.used["collected_at"]))
        known = f"{_between(moments)}, for {counted(len(moments), 'image')} in use" if moments else "not on record"
        return f"Collected: {known}. Ingested: {_between([one.ingested_at for one in self.subject.sources])}."

    @property
    def first_used(self) -> str:
        """When a model was first trained on exactly this snapshot."""
        if not self.trained:
            return "No model of this workspace was trained on this snapshot."
        first = min(moment for _, _, moment, _ in self.trained)
        return f"A model was first trained on exactly these data on {day(first)}."

    @property
    def synthetic(self) -> str:
        """How many files call themselves the output of a generative model."""
        count = sum(map(says_synthetic, self.used["signals"]))
        return f"{counted(count, 'file')} in use carry metadata that call them the output of a generative model."

    @property
    def people(self) -> str:
        """Who is depicted, as far as the records say."""
        named = {person for each in self.used["depicts"] for person in each}
        if not named:
            return "No depicted person is named in the records. Pictures were not searched for people."
        return f"{counted(len(named), 'depicted person', 'depicted people')} named in the records, each with a grant."


def write_disclosures(workspace: Workspace, subject: Subject, folder: Path, made_at: str) -> dict[str, Path]:
    """Write eu-training-content.html and california-ab-2013.html."""
    facts = gather(workspace, subject)
    pages = {"eu_summary": ("eu-training-content.html", eu_summary(facts))}
    pages["california"] = ("california-ab-2013.html", california(facts))
    return {
        name: write_bytes(
            folder / file, rendered("disclosure.html", page=page, subject=subject, made_at=made_at).encode()
        )
        for name, (file, page) in pages.items()
    }


def gather(workspace: Workspace, subject: Subject) -> Facts:
    """The facts of a snapshot, with the models that were trained on it."""
    query = select(models).where(models.c.root == subject.root).order_by(models.c.trained_at)
    with open_catalog(workspace).connect() as connection:
        rows = connection.execute(query).mappings().all()
    trained = [(row["id"], row["kind"], row["trained_at"], row["base"]) for row in rows]
    used = subject.table[subject.table["used"]].drop_duplicates("asset")
    return Facts(subject, used, trained)


def eu_summary(facts: Facts) -> Disclosure:
    """The three sections of the template for Article 53(1)(d) of the AI Act, Regulation (EU) 2024/1689."""
    used, subject = facts.used, facts.subject
    formats = Counter(used["format"])
    labels = sorted(set(filter(None, used["label"])))
    general = [
        Item("1.1 Provider", [], "Name and contact of the provider, and of the authorised representative."),
        Item(
            "1.2 Model",
            [
                f"Model {name} ({kind}), trained {day(moment)}" + (f", fine-tuned from {base}." if base else ".")
                for name, kind, moment, base in facts.trained
            ]
            or [facts.first_used],
            "The name under which it is placed on the market, its versions, and when.",
        ),
        Item(
            "1.3 Modalities and size",
            [
                f"Images only: {len(used):,}, {used['bytes'].sum() / 1e6:,.1f} MB as files; "
                + ", ".join(f"{name} {count:,}" for name, count in formats.most_common()) + ".",
                f"Kinds, by label: {_shortened(labels)}." if labels else "The files have no labels.",
                facts.period,
            ],
            "Languages, regions and demographics shown, where that is meaningful.",
        ),
    ]  # fmt: skip
    sources = [
        Item(
            "2.1 Publicly available datasets",
            [f"{counted(len(facts.public), 'image')} in use rest on a licence that is open to everybody."],
            "Whether each dataset is public, and where it can be had.",
            _by_dataset(facts, facts.public),
            ("dataset", "source", "its own licence", "images in use"),
        ),
        Item(
            "2.2 Data licensed by rights holders or obtained from third parties",
            [f"{counted(len(facts.licensed), 'image')} in use rest on grants on record, of {_grantors(facts)}."],
            "Whether any were obtained from intermediaries, and on which terms.",
            _by_dataset(facts, facts.licensed),
            ("dataset", "source", "its own licence", "images in use"),
        ),
        Item(
            "2.3 Data crawled and scraped from online sources",
            [f"{counted(sum(bool(url) for url in used['source_url']), 'image')} in use name an address of origin."],
            "Whether the provider or somebody for them crawled, by which crawlers, when, and how they behaved.",
            _domains(used),
            ("domain", "images in use"),
        ),
        Item("2.4 User data", [], "Whether data of the provider's users were used; the records do not tell."),
        Item("2.5 Synthetic data", [facts.synthetic], "Whether the provider made data with models of their own."),
        Item("2.6 Other sources", [], "Anything else, such as data that the provider made by hand."),
    ]
    processing = [
        Item(
            "3.1 Respect for reservations of rights",
            [
                "Read from files and headers: CAWG and C2PA training-mining, PLUS data mining in XMP, TDMRep, "
                "X-Robots-Tag (noai, noimageai), AIPREF Content-Usage. A reservation keeps a file out unless its "
                "holder has granted otherwise in so many words; so do withdrawals and restrictions in the ledger.",
                f"Files kept out by such marks: {_count(subject, _OPT_OUTS):,}; by a withdrawal or restriction: "
                f"{_count(subject, re.compile('CONSENT_|RELATIVE_WITHDRAWN|RELATIVE_RESTRICTED')):,}.",
            ],
            "Policies for what was collected before it came here (robots.txt, terms of sites).",
        ),
        Item(
            "3.2 Removal of illegal content",
            ["Files that cannot be read as images are rejected. Nothing here searches for illegal content."],
            "What was done against it.",
        ),
        Item(
            "3.3 Other",
            ["One of each group of near-duplicates is used, and none of a group with a member that is not allowed."],
        ),
    ]
    return Disclosure(
        "Public summary of training content",
        "Article 53(1)(d) of Regulation (EU) 2024/1689 (AI Act)",
        [
            "The duty is one of providers of general-purpose AI models. Whether this model is one is for a lawyer; a "
            "small generator of one studio's images normally is not.",
            "The three sections and their headings follow the Commission's template (24 July 2025; C(2025) 8311 of "
            "5 December 2025) as secondary sources describe it. They were not compared with the adopted text.",
        ],
        [("1 General information", general), ("2 Data sources", sources), ("3 Data processing", processing)],
    )


def california(facts: Facts) -> Disclosure:
    """The twelve items of California's AB 2013, Civil Code section 3111(a)."""
    used, subject = facts.used, facts.subject
    labels = sorted(set(filter(None, used["label"])))
    holders = {holder for each in used["holders"] for holder in each}
    items = [
        Item("(1) Sources or owners of the datasets", [f"{counted(len(holders), 'rights holder')} named."], "",
             _by_dataset(facts, used), ("dataset", "source", "its own licence", "images in use")),
        Item("(2) How the datasets further the intended purpose", [f"Used for: {subject.purpose}."],
             "The intended purpose of the system, in words."),
        Item("(3) Number of data points", [f"{len(used):,} images."]),
        Item("(4) Types of data points", [f"Images; labels: {_shortened(labels) or 'none'}."]),
        Item("(5) Copyright, trademark, patent, or public domain",
             ["Images are as a rule protected by copyright. Licences on record:"],
             "Whether any are protected as trademarks or patents, or entirely in the public domain.",
             facts.licences, ("licence", "images in use")),
        Item("(6) Purchased or licensed",
             [f"{len(facts.licensed):,} by grants on record, {len(facts.public):,} under open licences."],
             "Whether any were purchased."),
        Item("(7) Personal information", [facts.people],
             "Whether pictures or credits are personal information (Civil Code 1798.140(v))."),
        Item("(8) Aggregate consumer information", [], "Whether there is any; the records do not tell."),
        Item("(9) Cleaning, processing, modification",
             ["Unreadable files are rejected; near-duplicates are set aside; images are oriented, converted to sRGB "
              "and scaled for training. The files themselves are not changed."]),
        Item("(10) Time of collection", [facts.period], "Whether collection goes on."),
        Item("(11) Dates of first use", [facts.first_used], "Dates of first use of earlier versions of the data."),
        Item("(12) Synthetic data generation", [facts.synthetic],
             "Whether the system used or uses synthetic data in its development."),
    ]  # fmt: skip
    return Disclosure(
        "Training data documentation",
        "California AB 2013, Civil Code section 3111(a), in force since 1 January 2026",
        [
            "The duty is one of developers of generative AI systems that are made available to Californians.",
            "The twelve items follow the text of section 3111(a) as secondary sources reprint it. They were not "
            "compared with the official publication; items (10) to (12) were read in summaries only.",
        ],
        [("High-level summary of the datasets", items)],
    )


def _between(moments: Sequence[str]) -> str:
    first, last = day(min(moments)), day(max(moments))
    return first if first == last else f"{first} to {last}"


def _by_dataset(facts: Facts, rows: pd.DataFrame) -> list[tuple[str, ...]]:
    counts = Counter(rows["dataset"])
    return [
        (source.name, source.shown, source.licence or "none stated", f"{counts[source.name]:,}")
        for source in facts.subject.sources
        if counts[source.name]
    ]


def _domains(used: pd.DataFrame) -> list[tuple[str, ...]]:
    """Domains of origin, the most frequent tenth of them, at least ten."""
    counts = Counter(urlsplit(url).hostname or "not an address" for url in used["source_url"] if url)
    return [(domain, f"{count:,}") for domain, count in counts.most_common(max(10, -(-len(counts) // 10)))]


def _grantors(facts: Facts) -> str:
    granting = {
        event.actor or event.subject_id
        for evidence in facts.licensed["evidence"]
        for event in cited(evidence, facts.subject.events)
        if event.action == "grant"
    }
    return _shortened(sorted(granting)) or "nobody"


def _count(subject: Subject, codes: re.Pattern[str]) -> int:
    refused = subject.table[subject.table["decision"] != "allow"]["reasons"]
    return sum(any(codes.match(code) for code in reasons) for reasons in refused)


def _shortened(names: Sequence[str], most: int = 12) -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return joined(names)
