"""Signals: what a file's metadata, its credential and its HTTP headers say about its use.

`ingest` records the facts as found; here they get a meaning, so that a new rule re-reads facts and not files.
Restrictions count wherever they stand, even in an invalid credential or an ingredient; permissions lift nothing.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from http_sfv.dictionary import Dictionary
from http_sfv.types import Token

from pipeline.rights.findings import Finding, Purpose, Verdict
from pipeline.rights.licences import find_licence_url, normalise
from pipeline.rights.reasons import Reason
from pipeline.rights.terms import Statement

_TRAINING = frozenset({"train_generative", "train_other"})
_EVERY_USE = _TRAINING | {"generate_input"}
_DMI = {  # PLUS vocabulary 2023.1 -> uses it denies
    "UNSPECIFIED": frozenset[str](),
    "ALLOWED": frozenset[str](),
    "PROHIBITED": _EVERY_USE,
    "PROHIBITED-AIMLTRAINING": _TRAINING,
    "PROHIBITED-GENAIMLTRAINING": frozenset({"train_generative"}),
    "PROHIBITED-EXCEPTSEARCHENGINEINDEXING": _EVERY_USE,
}
_CAWG = {  # CAWG training and data mining 1.1; ai_training is non-generative training there
    "ai_generative_training": "train_generative",
    "ai_training": "train_other",
    "ai_inference": "generate_input",
}
_ROBOTS_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_NOAI = re.compile(r"\bno(?:image)?ai\b")  # also where somebody forgot the comma
_AGENT = re.compile(r"([\w.*-]+)\s*:\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Signals:
    """What the facts about one file mean for a purpose."""

    findings: tuple[Finding, ...] = ()
    permits: str = ""  # evidence of an embedded permission: it asks a person where nothing else permits
    licences: tuple[Statement, ...] = field(default=())


@lru_cache(maxsize=4096)  # many files of a source come with the same facts
def read_signals(facts: str, purpose: Purpose, agents: tuple[str, ...]) -> Signals:
    """Interpret the JSON facts of one inventory row; `agents` are our names in X-Robots-Tag.

    Sources: CAWG training-mining 1.1 and c2pa.training-mining, IPTC/PLUS data mining 2023.1, TDMRep, AIPREF
    Content-Usage, X-Robots-Tag noai. Facts that cannot be read are a finding, never an absence.
    """
    if not facts.strip():
        return Signals()
    try:
        value = json.loads(facts)
        if not isinstance(value, dict | None):
            raise ValueError("not an object")
        return _read(value or {}, purpose, agents)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return Signals((Finding(Verdict.REVIEW, Reason.METADATA_UNREADABLE, ("signals: malformed facts",)),))


def _read(facts: dict[str, Any], purpose: Purpose, agents: tuple[str, ...]) -> Signals:
    xmp = _by_local_name(facts.get("xmp") or {})
    headers: dict[str, list[str]] = {}
    for name, values in (facts.get("headers") or {}).items():
        headers.setdefault(name.strip().casefold(), []).extend(_texts(values))
    findings = [
        *_plus(xmp, purpose),
        *_credential(facts.get("c2pa") or {}, purpose),
        *_tdm(xmp, headers),
        *_robots(headers.get("x-robots-tag", []), agents),
        *_aipref(headers.get("content-usage", []), purpose),
        *(_review(Reason.METADATA_UNREADABLE, f"unreadable:{part}") for part in _texts(facts.get("unreadable"))),
    ]
    allowed = any(_dmi_code(text) == "ALLOWED" for text in xmp.get("datamining", []))
    permits = "xmp:plus:DataMining=DMI-ALLOWED" if allowed else ""
    return Signals(tuple(findings), permits, tuple(_licences(facts, xmp)))


def _plus(xmp: dict[str, list[str]], purpose: Purpose) -> Iterator[Finding]:
    for text in xmp.get("datamining", []):
        code, evidence = _dmi_code(text), f"xmp:plus:DataMining={text}"
        if code not in _DMI:  # SEECONSTRAINT, SEELINKEDRIGHTSEXPR, ... and what the vocabulary does not know yet
            yield _review(Reason.SIGNAL_DMI_REVIEW, evidence)
        elif purpose.use in _DMI[code]:
            yield Finding(Verdict.DENY, Reason.SIGNAL_DMI_PROHIBITED, (evidence,))
    for text in xmp.get("otherconstraints", []):
        yield _review(Reason.SIGNAL_DMI_REVIEW, f"xmp:plus:OtherConstraints={text}")


def _dmi_code(text: str) -> str:
    return text.rstrip("/").rpartition("/")[2].upper().removeprefix("DMI-")


def _credential(credential: dict[str, Any], purpose: Purpose) -> Iterator[Finding]:
    state = str(credential.get("state") or "").casefold()
    if state in ("invalid", "unreadable"):
        yield _review(Reason.C2PA_INVALID, f"c2pa:state={state}")
    if state == "remote" or (credential.get("remote_url") and state in ("", "none")):
        yield _review(Reason.C2PA_REMOTE, f"c2pa:remote={credential.get('remote_url') or 'unread'}")
    entries = [entry for entry in credential.get("training_mining") or [] if entry.get("use") != "allowed"]
    spoken = {(e.get("manifest"), _entry_name(e)) for e in credential.get("training_mining") or []}
    for entry in entries:
        name, use = _entry_name(entry), str(entry.get("use"))
        constraint = f" ({entry['constraint_info']})" if entry.get("constraint_info") else ""
        evidence = f"c2pa:{entry.get('manifest') or 'manifest'}:{entry.get('entry')}={use}{constraint}"
        restricts = use in ("notAllowed", "constrained")  # CAWG: constrained shall be treated as notAllowed
        if _CAWG.get(name) == purpose.use:
            yield (
                Finding(Verdict.DENY, Reason.SIGNAL_CAWG_PROHIBITED, (evidence,))
                if restricts
                else _review(Reason.SIGNAL_CAWG_REVIEW, evidence)
            )
        elif name == "data_mining":
            # Training mines data; where the same credential speaks of this very training, that is what counts.
            own = {key for key, use_ in _CAWG.items() if use_ == purpose.use}
            if purpose.use in _TRAINING and not any((entry.get("manifest"), key) in spoken for key in own):
                yield _review(Reason.SIGNAL_CAWG_REVIEW, evidence)
        elif name not in _CAWG:  # a custom key: nobody but its author knows what it covers
            yield _review(Reason.SIGNAL_CAWG_REVIEW, evidence)


def _entry_name(entry: dict[str, Any]) -> str:
    name = str(entry.get("entry") or "")
    return name.removeprefix("cawg.").removeprefix("c2pa.")


def _tdm(xmp: dict[str, list[str]], headers: dict[str, list[str]]) -> Iterator[Finding]:
    """TDMRep: 1 reserves; 0 is neutral; any other value is a protocol error and counts as unset."""
    for where, values in (("xmp:tdm:reservation", xmp.get("reservation", [])),
                          ("header:tdm-reservation", headers.get("tdm-reservation", []))):  # fmt: skip
        if any(part.strip() == "1" for value in values for part in value.split(",")):
            yield Finding(Verdict.DENY, Reason.SIGNAL_TDM, (f"{where}=1",))


def _robots(lines: Sequence[str], agents: tuple[str, ...]) -> Iterator[Finding]:
    """X-Robots-Tag: comma-separated rules; `agent:` binds the rules after it to that agent, to the line's end."""
    ours = {"*", *(agent.casefold() for agent in agents)}
    for line in lines:
        agent = "*"
        for part in line.casefold().split(","):
            rule, named = part.strip(), _AGENT.fullmatch(part.strip())
            while named and named[1] not in _ROBOTS_WITH_VALUE:
                agent, rule = named[1], named[2].strip()
                named = _AGENT.fullmatch(rule)
            if _NOAI.search(rule) and agent in ours:
                yield Finding(Verdict.DENY, Reason.SIGNAL_NOAI, (f"header:x-robots-tag={line}",))
                break


def _aipref(lines: Sequence[str], purpose: Purpose) -> Iterator[Finding]:
    """AIPREF Content-Usage: train-ai=n speaks of generative models only; what is no structured field is unset."""
    if not lines or purpose.use != "train_generative":
        return
    line = ", ".join(lines)
    whole = _dictionary(line)  # several lines are one field; where that cannot be read, a line that can still speaks
    for preferences in [_dictionary(one) for one in lines] if whole is None else [whole]:
        wish = preferences.get("train-ai") if preferences is not None else None
        if wish is not None and isinstance(wish.value, Token) and str(wish.value) == "n":
            yield Finding(Verdict.DENY, Reason.SIGNAL_AIPREF, (f"header:content-usage={line}",))
            return


def _dictionary(line: str) -> Dictionary | None:
    """A structured-field dictionary (RFC 9651), None when the line is none."""
    preferences = Dictionary()
    try:
        preferences.parse(line.encode())
    except ValueError:
        return None
    return preferences


def _licences(facts: dict[str, Any], xmp: dict[str, list[str]]) -> Iterator[Statement]:
    """Licences that the file itself states: cc:license, xmpRights, and copyright notices."""
    for text in xmp.get("license", []):
        yield Statement("xmp:cc:license", normalise(text), embedded=True)
    for text in xmp.get("usageterms", []):
        yield Statement("xmp:xmpRights:UsageTerms", find_licence_url(text) or normalise(text), embedded=True)
    for text in xmp.get("webstatement", []):  # any page about rights; only a licence's own address is a licence
        if found := find_licence_url(text):
            yield Statement("xmp:xmpRights:WebStatement", found, embedded=True)
    notices = [("xmp:dc:rights", text) for text in xmp.get("rights", [])]
    notices += [(name, text) for name in ("exif_copyright", "iptc_copyright") for text in _texts(facts.get(name))]
    for source, text in notices:
        licence = find_licence_url(text) or normalise(text)
        if licence.state == "reserved" or licence.expression.startswith("CC"):
            yield Statement(source, licence, embedded=True, notice=licence.state == "reserved")


def _by_local_name(xmp: dict[str, Any]) -> dict[str, list[str]]:
    """XMP properties by local name in lower case, whatever prefix or namespace form they came with."""
    found: dict[str, list[str]] = {}
    for name, value in xmp.items():
        found.setdefault(re.split(r"[:/}#]", name)[-1].casefold(), []).extend(_texts(value))
    return found


def _texts(value: Any) -> list[str]:
    """Every non-empty text inside a value: strings, lists, and language alternatives."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return [str(value).strip()] if str(value).strip() else []


def _review(reason: Reason, evidence: str) -> Finding:
    return Finding(Verdict.REVIEW, reason, (evidence,))
