"""Signing a picture with a rights holder's wishes: what a photographer's tool does before it publishes."""

from collections.abc import Mapping

from pipeline.core.errors import ImprimaturError
from pipeline.credentials import sdk
from pipeline.credentials.identity import Identity

HUMAN_EDITS = "http://cv.iptc.org/newscodes/digitalsourcetype/humanEdits"
# CAWG Training and Data Mining Assertion 1.1
ENTRIES = ("cawg.data_mining", "cawg.ai_inference", "cawg.ai_generative_training", "cawg.ai_training")
USES = ("allowed", "notAllowed", "constrained")


def sign_training_mining(
    image: bytes, mime: str, entries: Mapping[str, str], title: str, when: str, identity: Identity
) -> bytes:
    """Sign a human-made image with a `cawg.training-mining` assertion, e.g. {"cawg.ai_training": "notAllowed"}.

    `when` is RFC 3339. The bytes differ from call to call (signature, manifest id). Raises ImprimaturError for an
    unknown entry or use, or an image that the SDK cannot sign.
    """
    for entry, use in entries.items():
        if entry not in ENTRIES or use not in USES:
            raise ImprimaturError(
                f"training-mining entry {entry}: {use} is not in CAWG 1.1",
                f"entries: {', '.join(ENTRIES)}; uses: {', '.join(USES)}",
            )
    created = {"action": "c2pa.created", "when": when, "digitalSourceType": HUMAN_EDITS}
    manifest = {
        "claim_generator_info": [sdk.CLAIM_GENERATOR],
        "format": mime,
        "title": title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"allActionsIncluded": True, "actions": [created]}},
            {
                "label": "cawg.training-mining",
                "data": {"entries": {entry: {"use": use} for entry, use in entries.items()}},
            },
        ],
    }
    try:
        return sdk.sign(image, mime, manifest, identity)[0]
    except sdk.SigningError as error:
        raise ImprimaturError(f"{title}: cannot be signed as {mime}: {error}", "give a readable image") from None
