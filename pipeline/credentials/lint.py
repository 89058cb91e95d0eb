"""Rules that a credential must keep before its output is released, checked on what was read back from the file.

The SDK checks hashes and signatures and little else: wrong labels, digital source types that are no URL, assertions
outside the signer's responsibility all read Trusted. The table is printed in docs/credentials.md.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from pipeline.core.settings import CredentialSettings
from pipeline.credentials import sdk, watermark
from pipeline.credentials.images import discloses, mime_of
from pipeline.credentials.manifest import AI_EDITED, AI_GENERATED, DIGITAL_SOURCE, OutputFacts
from pipeline.credentials.permissions import ENTRIES, USES

C2PA, RUBRIC = "C2PA 2.4", "C2PA conformance 0.2"
CAWG, SB_942, AI_ACT, HOUSE = "CAWG 1.1", "SB 942, 22757.3(b)", "AI Act, art. 50(2)", "Imprimatur"
# actions that need no digitalSourceType; C2PA conformance, validation rubric
_NO_SOURCE = ("c2pa.opened", "c2pa.placed", "c2pa.removed", "c2pa.converted", "c2pa.published", "c2pa.watermarked")
_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+(\.v\d+)?(__\d+)?")
_LOCAL_PATH = re.compile(r"file://|(^|[\s\"'=:(])(/(home|root|Users|tmp|var|mnt|srv)/|[A-Za-z]:\\)")
_HARD_BINDINGS = {"assertion.dataHash.match", "assertion.bmffHash.match", "assertion.boxesHash.match"}


@dataclass(frozen=True)
class Reading:
    """An output as read back from its final bytes, and what it was meant to say."""

    report: sdk.ManifestStore
    data: bytes
    mime: str
    facts: OutputFacts
    output: str  # unique id
    payload: int
    found: int | None  # the watermark as decoded from `data`
    varied: bool  # it has a source picture
    chained: bool  # it has a model
    timestamp: bool  # a time-stamping authority is configured
    settings: CredentialSettings

    @cached_property
    def manifest(self) -> sdk.ManifestStore:
        """The active manifest."""
        return sdk.active_manifest(self.report)

    @cached_property
    def actions(self) -> list[dict[str, Any]]:
        """Its actions, in order."""
        return [action for data in self.data_of("c2pa.actions") for action in data["actions"]]

    @cached_property
    def generation(self) -> dict[str, Any]:
        """Our own assertion."""
        (data,) = self.data_of(sdk.GENERATION_ASSERTION)
        fields: dict[str, Any] = data
        return fields

    @property
    def made(self) -> dict[str, Any]:
        """The action that says how the picture came about."""
        return self.actions[1 if self.actions[0]["action"] == "c2pa.opened" else 0]

    def data_of(self, label: str) -> list[Any]:
        """Data of the assertions with a label."""
        return sdk.assertions(self.manifest, label)

    def ingredients(self, relationship: str) -> list[dict[str, Any]]:
        """Ingredients of one relationship."""
        return [each for each in self.manifest.get("ingredients", []) if each.get("relationship") == relationship]


@dataclass(frozen=True)
class Rule:
    """One rule: its code, where it comes from, what it asks, and whether a reading keeps it."""

    code: str
    source: str
    asks: str
    holds: Callable[[Reading], bool]


def broken_rules(reading: Reading) -> list[str]:
    """Codes of the rules that a reading breaks; a rule whose subject is missing or malformed is broken."""
    return [rule.code for rule in RULES if not _holds(rule, reading)]


def _holds(rule: Rule, reading: Reading) -> bool:
    try:
        return rule.holds(reading)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return False


def _generator(reading: Reading) -> bool:
    info = reading.manifest["claim_generator_info"][0]
    return bool(info["name"] and info["version"])


def _first_action(reading: Reading) -> bool:
    names = [action["action"] for action in reading.actions]
    first = "c2pa.opened" if reading.varied else "c2pa.created"
    return names[0] == first and sum(name in ("c2pa.created", "c2pa.opened") for name in names) == 1


def _parent(reading: Reading) -> bool:
    parents = reading.ingredients("parentOf")
    return len(parents) == (1 if reading.varied else 0) and (not parents or _refers(reading.actions[0]))


def _model(reading: Reading) -> bool:
    models = [
        each
        for each in reading.ingredients("inputTo")
        if any(kind["type"].startswith("c2pa.types.model") for kind in each["data_types"])
    ]
    return len(models) == reading.chained and (not models or _refers(reading.made))


def _refers(action: dict[str, Any]) -> bool:
    return all(each["url"] and each["hash"] for each in action["parameters"]["ingredients"])


def _ingredients(reading: Reading) -> bool:
    relationships = ("parentOf", "componentOf", "inputTo")
    return all(
        each["relationship"] in relationships
        and (bool(each.get("active_manifest")) == ("validation_results" in each))
        for each in reading.manifest.get("ingredients", [])
    )


def _sources(reading: Reading) -> bool:
    return all(
        str(action.get("digitalSourceType", "")).startswith((DIGITAL_SOURCE, "http://c2pa.org/digitalsourcetype/"))
        for action in reading.actions
        if not action["action"].startswith(_NO_SOURCE)
    )


def _soft_binding(reading: Reading) -> bool:
    bound = any(action["action"] == "c2pa.watermarked.bound" for action in reading.actions)
    (binding,) = reading.data_of("c2pa.soft-binding")
    return bound and bool(binding["alg"]) and all("value" in block for block in binding["blocks"])


def _same_mark(reading: Reading) -> bool:
    (binding,) = reading.data_of("c2pa.soft-binding")
    values = [block["value"] for block in binding["blocks"]]
    return binding["alg"] == watermark.ALGORITHM and values == [watermark.payload_hex(reading.payload)]


def _training_mining(reading: Reading) -> bool:
    (data,) = reading.data_of("cawg.training-mining")
    entries = data["entries"]
    return set(entries) == set(ENTRIES) and all(
        rule["use"] in USES and (rule["use"] != "constrained" or bool(rule["constraint_info"]))
        for rule in entries.values()
    )


def _moment(text: str) -> bool:
    return datetime.fromisoformat(text).utcoffset() is not None


def _identified(reading: Reading) -> bool:
    return str(reading.generation["uniqueId"]) == reading.output == str(UUID(reading.output))


def _provenance(reading: Reading) -> bool:
    fields, facts = reading.generation, reading.facts
    known = {
        "modelSha256": facts.model_sha256,
        "snapshot": facts.snapshot,
        "snapshotRoot": facts.snapshot_root,
        "batch": facts.batch,
        "screening": facts.verdict,
    }
    return all(fields.get(name, "") == value for name, value in known.items())


def _no_local_names(reading: Reading) -> bool:
    said = {name: value for name, value in reading.manifest.items() if name != "ingredients"}
    said["ingredients"] = [each.get("title") for each in reading.manifest.get("ingredients", [])]
    return not _LOCAL_PATH.search(json.dumps(said, ensure_ascii=False))


RULES = (
    Rule("C2PA_TRUSTED", C2PA, "The state is Trusted, without any failure, ingredients included.",
         lambda r: r.report["validation_state"] == "Trusted" and not sdk.failure_codes(r.report)),
    Rule("C2PA_CLAIM_V2", C2PA, "The claim is of version 2.",
         lambda r: r.manifest["claim_version"] == 2),
    Rule("C2PA_HARD_BINDING", C2PA, "Exactly one hard binding matches the file's bytes.",
         lambda r: len(sdk.success_codes(r.report) & _HARD_BINDINGS) == 1),
    Rule("C2PA_GENERATOR", C2PA, "claim_generator_info names the generator and its version.",
         _generator),
    Rule("C2PA_FIRST_ACTION", C2PA, "The first action, and only that, is c2pa.created; with a source, c2pa.opened.",
         _first_action),
    Rule("C2PA_PARENT", C2PA, "Exactly one parentOf ingredient when there is a source, to which c2pa.opened refers.",
         _parent),
    Rule("C2PA_MODEL", C2PA, "The model is an inputTo ingredient of type c2pa.types.model, which the action names.",
         _model),
    Rule("C2PA_INGREDIENTS", C2PA, "Ingredients have a known relationship, and validation results with a manifest.",
         _ingredients),
    Rule("C2PA_SOURCE_URL", C2PA, "Digital source types are full IPTC or C2PA URLs (http, not https).",
         _sources),
    Rule("C2PA_SOFT_BINDING", C2PA, "c2pa.watermarked.bound has its one c2pa.soft-binding with alg and value.",
         _soft_binding),
    Rule("C2PA_LABELS", C2PA, "Assertion labels are namespaced, lower case and without spaces.",
         lambda r: all(_LABEL.fullmatch(each["label"]) for each in r.manifest["assertions"])),
    Rule("C2PA_FORMAT", C2PA, "The file's bytes are of the format that the manifest was signed for.",
         lambda r: mime_of(r.data) == r.mime),
    Rule("RUBRIC_CREATED_ASSERTIONS", RUBRIC, "Every assertion is among the claim's created assertions.",
         lambda r: all(each["created"] is True for each in r.manifest["assertions"])),
    Rule("RUBRIC_SPEC_VERSION", RUBRIC, "claim_generator_info.specVersion is given.",
         lambda r: bool(re.fullmatch(r"2\.\d+\.\d+", r.manifest["claim_generator_info"][0]["specVersion"]))),
    Rule("RUBRIC_ALL_ACTIONS", RUBRIC, "allActionsIncluded is stated, in one actions assertion.",
         lambda r: [data["allActionsIncluded"] for data in r.data_of("c2pa.actions")] == [True]),
    Rule("RUBRIC_AI_SOURCE", RUBRIC, "Fully AI-generated media say trainedAlgorithmicMedia; edited ones, composite.",
         lambda r: r.made["digitalSourceType"] == (AI_EDITED if r.made["action"] == "c2pa.edited" else AI_GENERATED)),
    Rule("RUBRIC_AGENT", RUBRIC, "Every action says when (RFC 3339, with offset) and by which software.",
         lambda r: all(_moment(action["when"]) and action["softwareAgent"]["name"] for action in r.actions)),
    Rule("CAWG_TRAINING_MINING", CAWG, "cawg.training-mining has the four entries, each with a use of the standard.",
         _training_mining),
    Rule("SB942_PROVIDER", SB_942, "The provider's name.",
         lambda r: r.generation["provider"] == r.settings.provider != ""),
    Rule("SB942_SYSTEM", SB_942, "Name and version of the generating system.",
         lambda r: bool(r.generation["system"] and r.generation["systemVersion"])),
    Rule("SB942_TIME", SB_942, "Time and date of creation, the same as the action's.",
         lambda r: _moment(r.generation["createdAt"]) and r.generation["createdAt"] == r.made["when"]),
    Rule("SB942_UNIQUE_ID", SB_942, "A unique identifier (UUID), which is the output's in the registry.",
         _identified),
    Rule("AIACT_WATERMARK", AI_ACT, "The watermark, decoded from the encoded file, is the one the binding names.",
         lambda r: r.found == r.payload and _same_mark(r)),
    Rule("AIACT_IPTC", AI_ACT, "The XMP says the same digital source type, for readers without C2PA.",
         lambda r: discloses(r.data, r.made["digitalSourceType"])),
    Rule("AIACT_TIMESTAMP", AI_ACT, "The signature is time-stamped when a time-stamping authority is configured.",
         lambda r: not r.timestamp or bool(r.manifest["signature_info"]["time"])),
    Rule("HOUSE_PROVENANCE", HOUSE, "Weights' digest, snapshot and its root, batch and verdict are those of the run.",
         _provenance),
    Rule("HOUSE_NO_THUMBNAIL", HOUSE, "No thumbnail, which would be larger than the picture.",
         lambda r: "thumbnail" not in r.manifest),
    Rule("HOUSE_NO_LOCAL_NAMES", HOUSE, "No local path, in any text of the manifest.",
         _no_local_names),
)  # fmt: skip
