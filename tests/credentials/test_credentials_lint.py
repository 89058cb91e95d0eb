"""Our own rules for credentials: kept by what we stamp, broken by manifests that the SDK signs without a word."""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from credentials_studio import Studio, decoded, encoded, picture

from pipeline.credentials import sdk, watermark
from pipeline.credentials.images import encode
from pipeline.credentials.lint import RULES, Reading, broken_rules
from pipeline.credentials.manifest import AI_GENERATED, output_id, output_manifest, resources
from pipeline.credentials.stamp import StampReason, stamp

Manifest = dict[str, Any]
PAYLOAD = 0xC0FFEE42


def reading(studio: Studio, change: Callable[[Manifest], None] = lambda _: None, xmp: str = AI_GENERATED) -> Reading:
    """An output whose manifest was changed before it was signed, as it reads."""
    facts, identity = studio.facts(1, "lint"), studio.identity
    output = output_id("lint", 1, identity.watermark_key)
    manifest = deepcopy(output_manifest(facts, output, PAYLOAD, "image/png", studio.settings, studio.model))
    change(manifest)
    marked, _ = watermark.embed(picture(1), PAYLOAD, identity.watermark_key)
    data, _ = sdk.sign(
        encode(marked, "png", xmp, "imprimatur"), "image/png", manifest, identity, resources(model=studio.model)
    )
    report = sdk.read(data, "image/png", identity.anchors_pem)
    assert report is not None
    found = watermark.extract(decoded(data), identity.watermark_key)
    return Reading(
        report, data, "image/png", facts, output, PAYLOAD, found, False, True, False, studio.settings
    )  # fmt: skip


def actions(manifest: Manifest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifest["assertions"][0]["data"]["actions"]
    return found


def assertion(manifest: Manifest, label: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (entry["data"] for entry in manifest["assertions"] if entry["label"] == label)
    return found


def without(label: str) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        manifest["assertions"] = [entry for entry in manifest["assertions"] if entry["label"] != label]

    return change


def generation(**fields: Any) -> Callable[[Manifest], None]:
    return lambda manifest: assertion(manifest, sdk.GENERATION_ASSERTION).update(fields)


def other_label(manifest: Manifest) -> None:
    manifest["assertions"].append({"label": "Studio Notes", "data": {"a": 1}, "created": True})


def gathered(manifest: Manifest) -> None:
    manifest["assertions"].append({"label": "org.example.notes", "data": {"a": 1}})


def no_model(manifest: Manifest) -> None:
    del manifest["ingredients"], actions(manifest)[0]["parameters"]


def swapped_actions(manifest: Manifest) -> None:
    actions(manifest).reverse()


CHANGES: dict[str, tuple[Callable[[Manifest], None], str]] = {
    "the generator has no version": (
        lambda m: m["claim_generator_info"][0].pop("version"), "C2PA_GENERATOR"),
    "no specVersion": (lambda m: m["claim_generator_info"][0].pop("specVersion"), "RUBRIC_SPEC_VERSION"),
    "created is not the first action": (swapped_actions, "C2PA_FIRST_ACTION"),
    "a source type that is no URL": (
        lambda m: actions(m)[0].update(digitalSourceType="AI"), "C2PA_SOURCE_URL"),
    "a source type with https": (
        lambda m: actions(m)[0].update(digitalSourceType=AI_GENERATED.replace("http:", "https:")), "C2PA_SOURCE_URL"),
    "another source type": (
        lambda m: actions(m)[0].update(digitalSourceType=AI_GENERATED.replace("trained", "")), "RUBRIC_AI_SOURCE"),
    "no source type": (lambda m: actions(m)[0].pop("digitalSourceType"), "C2PA_SOURCE_URL"),
    "an action without a time": (lambda m: actions(m)[0].pop("when"), "RUBRIC_AGENT"),
    "an action without software": (lambda m: actions(m)[1].pop("softwareAgent"), "RUBRIC_AGENT"),
    "allActionsIncluded left open": (
        lambda m: m["assertions"][0]["data"].pop("allActionsIncluded"), "RUBRIC_ALL_ACTIONS"),
    "a gathered assertion": (gathered, "RUBRIC_CREATED_ASSERTIONS"),
    "a label with a space": (other_label, "C2PA_LABELS"),
    "no soft binding": (without("c2pa.soft-binding"), "C2PA_SOFT_BINDING"),
    "the binding names another mark": (
        lambda m: assertion(m, "c2pa.soft-binding")["blocks"][0].update(value="00000000"), "AIACT_WATERMARK"),
    "no model": (no_model, "C2PA_MODEL"),
    "no training-mining": (without("cawg.training-mining"), "CAWG_TRAINING_MINING"),
    "a use that is not in the standard": (
        lambda m: assertion(m, "cawg.training-mining")["entries"].update({"cawg.data_mining": {"use": "no"}}),
        "CAWG_TRAINING_MINING"),
    "an unexplained constraint": (
        lambda m: assertion(m, "cawg.training-mining")["entries"]["cawg.data_mining"].update(use="constrained"),
        "CAWG_TRAINING_MINING"),
    "another provider": (generation(provider="Someone else"), "SB942_PROVIDER"),
    "no system": (generation(system=""), "SB942_SYSTEM"),
    "another time": (generation(createdAt="2026-01-01T00:00:00Z"), "SB942_TIME"),
    "another id": (generation(uniqueId="00000000-0000-8000-8000-000000000000"), "SB942_UNIQUE_ID"),
    "no assertion of ours": (without(sdk.GENERATION_ASSERTION), "HOUSE_PROVENANCE"),
    "other weights": (generation(modelSha256="00" * 32), "HOUSE_PROVENANCE"),
    "another snapshot": (generation(snapshotRoot="00" * 32), "HOUSE_PROVENANCE"),
    "a local path": (generation(label="/home/mira/pictures"), "HOUSE_NO_LOCAL_NAMES"),
}  # fmt: skip


def test_what_we_stamp_keeps_every_rule(studio: Studio) -> None:
    assert broken_rules(reading(studio)) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_manifest_that_the_sdk_signs_breaks_the_rule(studio: Studio, change: str) -> None:
    changed, code = CHANGES[change]
    assert code in broken_rules(reading(studio, changed))


def test_rules_look_at_the_file_too(studio: Studio) -> None:
    sound = reading(studio)
    assert broken_rules(reading(studio, xmp="http://example.org/other")) == ["AIACT_IPTC"]
    assert broken_rules(replace(sound, found=None)) == ["AIACT_WATERMARK"]
    assert broken_rules(replace(sound, mime="image/jpeg")) == ["C2PA_FORMAT"]
    assert broken_rules(replace(sound, timestamp=True)) == ["AIACT_TIMESTAMP"]
    assert broken_rules(replace(sound, varied=True)) == ["C2PA_FIRST_ACTION", "C2PA_PARENT"]
    assert set(broken_rules(replace(sound, report={}))) > {"C2PA_TRUSTED", "C2PA_CLAIM_V2", "C2PA_HARD_BINDING"}
    untrusted = sdk.read(sound.data, "image/png", "")
    assert untrusted is not None
    assert broken_rules(replace(sound, report=untrusted)) == ["C2PA_TRUSTED"]


def test_a_broken_rule_keeps_an_output_from_release(studio: Studio) -> None:
    """A provider that is a path on somebody's machine."""
    settings = studio.settings.model_copy(update={"provider": "/home/mira/studio"})
    stamped = stamp(encoded(picture(2), "PNG"), studio.facts(2, "lint"), studio.model, studio.identity, settings)
    assert stamped.validation_state == "Trusted"
    assert stamped.reasons == (StampReason.RULES_BROKEN,)
    assert stamped.detail == "HOUSE_NO_LOCAL_NAMES"


def test_the_rule_table_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text(encoding="utf-8")
    assert [rule.code for rule in RULES] == re.findall(r"^\| `([A-Z0-9]+_[A-Z0-9_]+)` \|", text, re.M)
    for rule in RULES:
        assert f"| `{rule.code}` | {rule.source} | {rule.asks} |" in text
