"""What a manifest store says, whoever signed it: read from the active manifest, its ingredients and older labels.

Assertion data are anyone's JSON: nothing is taken for granted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.credentials import sdk

# last segments of IPTC digital source type URLs, which are also written with https, a slash behind, or bare
_AI_SOURCES = {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"}
_MEDIA_RELATIONS = {"parentOf", "componentOf"}  # what an ingredient says holds for the file too; `inputTo` does not
_STRICTNESS = {"notAllowed": 2, "constrained": 1, "allowed": 0}
_DEEPEST = 8  # base models of base models that are followed
_TRUST_CODES = ("signingCredential.", "timeStamp.")  # about who signed and when, not about what


@dataclass(frozen=True)
class ChainLink:
    """One link of the chain output -> model -> snapshot, and of a fine-tuned model to its base.

    `state`: valid | untrusted (intact, signer unknown) | invalid | absent | linked (named by digest and URL only) |
    recovered (its signature holds; its hard binding is to other bytes) | unchecked (not at hand).
    """

    link: str  # output | model | snapshot | weights | statement | assets | ledger, or "base model" and so on
    title: str
    manifest: str  # its label, "" for evidence that is no manifest
    state: str
    detail: str = ""
    facts: tuple[tuple[str, Any], ...] = ()  # our own assertion

    def as_json(self) -> dict[str, str]:
        """As `imprimatur verify --json` prints it."""
        return {name: str(value) for name, value in vars(self).items() if name != "facts"}


@dataclass(frozen=True)
class Claims:
    """What a manifest store says."""

    ai_generated: bool | None = None  # None: it does not say
    training_mining: tuple[tuple[str, str], ...] = ()  # entry to use
    signer: str = ""
    signer_trusted: bool | None = None
    intact: bool | None = None
    timestamped: bool = False
    chain: tuple[ChainLink, ...] = ()


def read_claims(report: sdk.ManifestStore) -> Claims:
    """The claims of a reader's report."""
    active = sdk.active_manifest(report)
    signature = _dict(active.get("signature_info"))
    family = list(_family(report, active))
    failures = [code for code in sdk.failure_codes(report) if not code.startswith(_TRUST_CODES)]
    return Claims(
        ai_generated=_ai_generated(family),
        training_mining=tuple(sorted(_training_mining(family).items())),
        signer=str(signature.get("common_name") or signature.get("issuer") or ""),
        signer_trusted="signingCredential.trusted" in sdk.success_codes(report),
        intact=not failures and "claimSignature.validated" in sdk.success_codes(report),
        timestamped=bool(signature.get("time")),
        chain=tuple(_chain(report, str(report.get("active_manifest", "")))),
    )


def _family(report: sdk.ManifestStore, manifest: sdk.ManifestStore) -> Iterator[sdk.ManifestStore]:
    """A manifest and those of the media that it was made from, each once: an ingredient list may be a loop."""
    waiting, seen = [manifest], set[str]()
    while waiting:
        current = waiting.pop(0)
        yield current
        for ingredient in _ingredients(current):
            label = ingredient.get("active_manifest")
            if ingredient.get("relationship") in _MEDIA_RELATIONS and label and label not in seen:
                seen.add(label)
                waiting.append(report.get("manifests", {}).get(label) or {})


def _ai_generated(family: list[sdk.ManifestStore]) -> bool | None:
    """True when any action names an AI source, False when sources are named and none is AI, else None."""
    sources = [
        str(action["digitalSourceType"]).rstrip("/").rpartition("/")[2]
        for manifest in family
        for data in sdk.assertions(manifest, "c2pa.actions")
        for action in map(_dict, [*_list(_dict(data).get("actions")), *_list(_dict(data).get("templates"))])
        if action.get("digitalSourceType")
    ]
    return bool(_AI_SOURCES.intersection(sources)) if sources else None


def _training_mining(family: list[sdk.ManifestStore]) -> dict[str, str]:
    """Entry to use, the strictest of the file and of the media it was made from; legacy c2pa. labels too."""
    strictest: dict[str, str] = {}
    for manifest in family:
        for label in ("cawg.training-mining", "c2pa.training-mining"):
            for data in map(_dict, sdk.assertions(manifest, label)):
                # version 1.0 of the CAWG schema has the entries at the top
                for entry, rule in _dict(data.get("entries", data)).items():
                    use = rule if isinstance(rule, str) else str(_dict(rule).get("use", ""))
                    if _STRICTNESS.get(use, -1) > _STRICTNESS.get(strictest.get(entry, ""), -1):
                        strictest[entry] = use
    return strictest


def _chain(report: sdk.ManifestStore, label: str) -> list[ChainLink]:
    """Manifests that follow each other as `inputTo` ingredients, and whether each holds and fits the one before."""
    manifest = _manifest(report, label)
    if sdk.assertions(manifest, sdk.SNAPSHOT_ASSERTION):
        return [_link("snapshot", report, {"active_manifest": label}, {})]
    if sdk.assertions(manifest, sdk.MODEL_ASSERTION):
        return _model_chain(report, {"active_manifest": label}, {}, "")
    output = _link("output", report, {"active_manifest": label}, {})
    facts, inputs = dict(output.facts), _inputs(manifest)
    if not any(each.get("active_manifest") for each in inputs) and facts.get("modelCredentialSha256"):
        named = ChainLink("model", str(inputs[0].get("title", "")) if inputs else "", "", "linked",
                     str(facts.get("modelCredentialUrl", "")))  # fmt: skip
        return [output, named]
    return [output, *_model_chain(report, inputs[0] if inputs else {}, facts, "")]


def _model_chain(
    report: sdk.ManifestStore, ingredient: dict[str, Any], named: dict[str, Any], name: str, depth: int = 0
) -> list[ChainLink]:
    """A model, its snapshot, and its base model with that one's own chain."""
    model = _link(f"{name}model", report, ingredient, named)
    inputs = _inputs(_manifest(report, model.manifest))
    bases = [each for each in inputs if "c2pa.types.model" in _kinds(each)]
    datasets = [each for each in inputs if each not in bases]
    links = [model, _link(f"{name}snapshot", report, datasets[0] if datasets else {}, dict(model.facts))]
    if bases and depth < _DEEPEST:
        links += _model_chain(report, bases[0], {}, f"{name}base ", depth + 1)
    return links


def _link(name: str, report: sdk.ManifestStore, ingredient: dict[str, Any], named: dict[str, Any]) -> ChainLink:
    """A link, judged by the reader's failures, those recorded when it was taken over, and what the last one names."""
    label = str(ingredient.get("active_manifest") or "")
    manifest = _manifest(report, label)
    if not manifest:
        return ChainLink(name, "", label, "absent")
    facts: dict[str, Any] = {}
    for kind in (sdk.GENERATION_ASSERTION, sdk.MODEL_ASSERTION, sdk.SNAPSHOT_ASSERTION):
        facts |= next((_dict(data) for data in sdk.assertions(manifest, kind)), {})
    codes = [code for code, url in sdk.failures(report) if label in url] + sdk.failure_codes(ingredient)
    broken = [code for code in codes if not code.startswith(_TRUST_CODES)]
    detail = ", ".join(dict.fromkeys(broken)) or _unfit(facts, named)
    state = "invalid" if detail else "untrusted" if codes else "valid"
    return ChainLink(name, str(manifest.get("title", "")), label, state, detail, tuple(facts.items()))


def _unfit(facts: dict[str, Any], named: dict[str, Any]) -> str:
    """What the link before says of this one and this one contradicts, "" when they agree."""
    pairs = (
        ("model", "model", "model"),
        ("weights' digest", "modelSha256", "weights_sha256"),
        ("snapshot", "snapshot", "snapshot"),
        ("training set's root", "snapshotRoot", "root"),
        ("training set's root", "root", "root"),
    )
    for what, theirs, ours in pairs:
        if named.get(theirs) and facts.get(ours) and named[theirs] != facts[ours]:
            return f"the link before names another {what}"
    return ""


def _manifest(report: sdk.ManifestStore, label: str) -> sdk.ManifestStore:
    return _dict(_dict(report.get("manifests")).get(label))


def _ingredients(manifest: sdk.ManifestStore) -> list[dict[str, Any]]:
    return [_dict(each) for each in _list(manifest.get("ingredients"))]


def _inputs(manifest: sdk.ManifestStore) -> list[dict[str, Any]]:
    return [each for each in _ingredients(manifest) if each.get("relationship") == "inputTo"]


def _kinds(ingredient: dict[str, Any]) -> set[str]:
    return {str(_dict(each).get("type", "")) for each in _list(ingredient.get("data_types"))}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
