"""What manifests of any maker say: AI sources and training permissions, in ingredients and under older labels."""

from pathlib import Path
from typing import Any

import pytest
from credentials_studio import WHEN, Studio, encoded, picture

from pipeline.credentials import sdk
from pipeline.credentials.claims import read_claims
from pipeline.credentials.verify import Verification, verify

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
Signed = tuple[str, str, bytes]


def signed(studio: Studio, source: str, *assertions: dict[str, Any], seed: int = 1, **parts: Any) -> bytes:
    """A picture with a credential as some other tool might write it: one action, and whatever assertions."""
    name = parts.pop("action", "c2pa.created")
    action = {
        "action": name,
        "when": WHEN,
        **({"digitalSourceType": source} if source else {}),
        **parts.pop("extra", {}),
    }
    manifest = {
        "claim_generator_info": [{"name": "some tool", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}, *assertions],
    }
    return sdk.sign(encoded(picture(seed), "PNG"), "image/png", manifest, studio.identity, **parts)[0]


def mining(label: str, **uses: Any) -> dict[str, Any]:
    return {"label": label, "data": {"entries": uses}}


def read(data: bytes, studio: Studio, folder: Path) -> Verification:
    path = folder / "a.png"
    path.write_bytes(data)
    return verify(path, [studio.identity.anchors_pem])


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        (IPTC + "trainedAlgorithmicMedia", True),
        (IPTC + "compositeWithTrainedAlgorithmicMedia", True),
        (IPTC + "compositeSynthetic", True),
        (IPTC.replace("http:", "https:") + "trainedAlgorithmicMedia", True),
        (IPTC + "trainedAlgorithmicMedia/", True),
        ("trainedAlgorithmicMedia", True),
        (IPTC + "digitalCapture", False),
        (IPTC + "humanEdits", False),
    ],
)
def test_ai_sources_in_every_spelling(studio: Studio, tmp_path: Path, source: str, answer: bool) -> None:
    assert read(signed(studio, source), studio, tmp_path).ai_generated is answer


def test_legacy_and_newer_labels_and_both_shapes_are_read_and_the_strictest_wins(
    studio: Studio, tmp_path: Path
) -> None:
    legacy = mining("c2pa.training-mining", **{"c2pa.ai_training": {"use": "notAllowed"}, "x": {"use": "allowed"}})
    newer = mining("cawg.training-mining", x={"use": "constrained", "constraint_info": "ask"})
    found = read(signed(studio, IPTC + "digitalCapture", legacy, newer), studio, tmp_path)
    assert found.training_mining == {"c2pa.ai_training": "notAllowed", "x": "constrained"}
    first_version = {"label": "cawg.training-mining", "data": {"cawg.ai_training": {"use": "notAllowed"}}}
    found = read(signed(studio, IPTC + "digitalCapture", first_version), studio, tmp_path)
    assert found.training_mining == {"cawg.ai_training": "notAllowed"}


def test_what_a_source_picture_says_holds_for_what_was_made_of_it(studio: Studio, tmp_path: Path) -> None:
    """A photographer edits a generated picture that must not be trained on: both facts survive the edit."""
    generated = signed(
        studio, IPTC + "trainedAlgorithmicMedia",
        mining("cawg.training-mining", **{"cawg.ai_training": {"use": "notAllowed"}}),
    )  # fmt: skip
    opened = {"parameters": {"ingredientIds": [sdk.PARENT]}}
    edited = signed(
        studio, "", mining("cawg.training-mining", **{"cawg.ai_training": {"use": "allowed"}}),
        action="c2pa.opened", extra=opened, parent=("generated", "image/png", generated), seed=2,
    )  # fmt: skip
    found = read(edited, studio, tmp_path)
    assert (found.state, found.ai_generated) == ("Trusted", True)
    assert found.training_mining == {"cawg.ai_training": "notAllowed"}


def test_what_a_model_says_of_itself_does_not_hold_for_its_output(studio: Studio, tmp_path: Path) -> None:
    report = sdk.read(studio.stamped(1, "claims").data, "image/png", studio.identity.anchors_pem)
    assert report is not None
    report["manifests"][studio.model.active_manifest]["assertions"].append(
        mining("cawg.training-mining", **{"cawg.ai_inference": {"use": "notAllowed"}})
    )
    assert dict(read_claims(report).training_mining)["cawg.ai_inference"] == "allowed"


@pytest.mark.parametrize(
    "rubbish", [None, 7, "text", [], [None], {"a": 1}, [{"active_manifest": 3, "relationship": "parentOf"}]]
)
def test_reports_of_any_shape_are_read(studio: Studio, rubbish: Any) -> None:
    """Assertion data are anyone's; so are ingredient lists that lead back to their beginning."""
    report = sdk.read(studio.stamped(1, "claims").data, "image/png", studio.identity.anchors_pem)
    assert report is not None
    active = report["manifests"][report["active_manifest"]]
    loop = {"active_manifest": report["active_manifest"], "relationship": "parentOf"}
    for ingredients in (rubbish, [loop, {**loop, "relationship": "inputTo"}]):
        active["ingredients"] = ingredients
        for assertion in active["assertions"]:
            assertion["data"] = rubbish
        claims = read_claims(report)
        assert claims.ai_generated is None
        assert claims.training_mining == ()


def test_a_model_that_is_its_own_base_is_not_followed_for_ever(studio: Studio) -> None:
    report = sdk.read(studio.stamped(1, "claims").data, "image/png", studio.identity.anchors_pem)
    assert report is not None
    label = studio.model.active_manifest
    itself = {
        "active_manifest": label, "relationship": "inputTo", "data_types": [{"type": "c2pa.types.model"}],
    }  # fmt: skip
    report["manifests"][label]["ingredients"].append(itself)
    assert 10 < len(read_claims(report).chain) < 30
