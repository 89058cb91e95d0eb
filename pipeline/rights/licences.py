"""Licences: reading what people write as one, and judging it for a purpose.

The table is that of the reference design: SPDX `OR` takes the best branch, `AND` the worst. It was drawn up for
commercial (C) and non-commercial (N) generative training (G), non-commercial other training (ON) and commercial
generation input (IC); the two other columns follow from the same terms of each licence.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from license_expression import LicenseSymbol, Licensing, get_spdx_licensing

from pipeline.rights.findings import Purpose, Verdict
from pipeline.rights.reasons import Reason

_COLUMNS = {  # purpose -> column of the table
    ("train_generative", True): 0,
    ("train_generative", False): 1,
    ("train_other", True): 2,
    ("train_other", False): 3,
    ("generate_input", True): 4,
    ("generate_input", False): 5,
}
_TABLE = {  # GC GN OC ON IC IN: Allow, Review, Deny
    "CC0": "AAAAAA",
    "CC-BY": "AAAAAA",
    "CC-BY-SA": "RRAARR",
    "CC-BY-NC": "DADADA",
    "CC-BY-NC-SA": "DRDADR",
    "CC-BY-ND": "RRRRDD",
    "CC-BY-NC-ND": "DRDRDD",
}
_LETTERS = {"A": Verdict.ALLOW, "R": Verdict.REVIEW, "D": Verdict.DENY}
# Licences outside Creative Commons whose only duties are to keep a notice or to name the author.
_PERMISSIVE = {
    **dict.fromkeys(("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "BSL-1.0"), "notice"),
    **dict.fromkeys(("CDLA-Permissive-1.0", "CDLA-Permissive-2.0"), "notice"),
    **dict.fromkeys(("Unlicense", "0BSD", "MIT-0", "PDDL-1.0", "WTFPL"), ""),
    "ODC-By-1.0": "attribution",
}
_COPYLEFT = ("GPL-", "LGPL-", "AGPL-", "MPL-", "EUPL-", "GFDL-", "ODbL-", "CDLA-Sharing-", "CC-SA-")
_CC = re.compile(r"(CC-BY(?:-NC)?(?:-(?:SA|ND))?)(?:-(1\.0|2\.0|2\.1|2\.5|3\.0|4\.0)(?:-[A-Z]+)?)?")
_CC_URL = re.compile(
    r"(?<![\w.@-])(?:(?:https?:)?//)?(?:www\.|i\.)?creativecommons\.org/(licenses|publicdomain|l|p)/([a-z+-]+)/(\d\.\d)"
    r"(?:/(?!deed|legalcode|rdf)([a-z]{2,8}))?(?:/(?:deed|legalcode|rdf)?[a-z0-9._-]*)?/?(?:[?#]\S*)?",
    re.IGNORECASE,
)
_SPDX_URL = re.compile(
    r"https?://(?:www\.)?(?:spdx\.org/licenses|opensource\.org/licenses?)/([\w.+-]+?)(?:\.(?:html|jsonld|json|txt)|/)?"
)
_NAMED_TWICE = re.compile(r"(.+?) ?\((.+)\)")  # Attribution 4.0 International (CC BY 4.0)
_ABSENT = {"", "unknown", "other", "noassertion", "none", "null", "nan", "n/a", "na", "-", "?", "not specified"}
_RESERVED = re.compile(r"all rights reserved|^(?:proprietary|unlicensed|copyrighted?)$", re.IGNORECASE)
_ALIASES = {
    "cc0": "CC0-1.0",
    "cc-0": "CC0-1.0",
    "cc zero": "CC0-1.0",
    "cc0 1.0": "CC0-1.0",
    "cc0 1.0 universal": "CC0-1.0",
    "cc0 1.0 universal (cc0 1.0) public domain dedication": "CC0-1.0",
    "https://creativecommons.org/licenses/publicdomain/": "CC-PDDC",
    "http://creativecommons.org/licenses/publicdomain/": "CC-PDDC",
    "public domain mark": "CC-PDM-1.0",
    "public domain mark 1.0": "CC-PDM-1.0",
    "mit license": "MIT",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "pddl": "PDDL-1.0",
    "odc-by": "ODC-By-1.0",
    "odbl": "ODbL-1.0",
}
_WORDS = [  # Creative Commons in words -> its letters
    (re.compile(r"creative ?commons"), "cc"),
    (re.compile(r"non-?\s?commercial"), "nc"),
    (re.compile(r"share-?\s?alike"), "sa"),
    (re.compile(r"no-?\s?deriv(?:ative|ative work)?s?"), "nd"),
    (re.compile(r"attribution"), "by"),
    (re.compile(r"\b(?:international|unported|generic|public|licen[cs]ed?|deed)\b"), " "),
]
_LONGEST = 1000  # characters; nobody writes a longer expression by hand


@dataclass(frozen=True)
class Licence:
    """What was written as a licence, read. `expression` is normalised SPDX, "" unless the state is readable."""

    text: str
    state: Literal["readable", "absent", "reserved", "unreadable"]
    expression: str = ""


@dataclass(frozen=True)
class Judgement:
    """A licence judged for a purpose."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    obligations: tuple[str, ...] = ()


@lru_cache(maxsize=65_536)
def normalise(text: str) -> Licence:
    """Read an SPDX expression, a Creative Commons URL or name in any spelling, or a Hugging Face id.

    Free text that is none of them is `unreadable`, and goes to a person.
    """
    tidy = " ".join(text.split()).strip("<>")
    if tidy.casefold() in _ABSENT:
        return Licence(text, "absent")
    if len(tidy) > _LONGEST:
        return Licence(text, "unreadable")
    expression = _ALIASES.get(tidy.casefold()) or _from_url(tidy) or _from_words(tidy) or _from_both_names(tidy)
    if not expression and _RESERVED.search(tidy):
        return Licence(text, "reserved")
    parsed = _parse(expression or tidy)
    if parsed is None or any(" " in key for key in _licensing().license_keys(parsed)):
        return Licence(text, "unreadable")
    return Licence(text, "readable", str(parsed))


def find_licence_url(text: str) -> Licence | None:
    """The licence of the first Creative Commons URL inside free text."""
    found = _CC_URL.search(text[: 10 * _LONGEST])
    return normalise(found.group(0)) if found else None


def is_licence_id(name: str) -> bool:
    """True for a single SPDX licence id, a Creative Commons port, or a LicenseRef."""
    return name.startswith("LicenseRef-") or bool(_CC.fullmatch(name)) or name.casefold() in _spdx_ids()


def judge(licence: Licence, purpose: Purpose, overrides: Mapping[str, str]) -> Judgement:
    """The table's verdict on one licence; `overrides` are the policy's (SPDX id or * -> verdict)."""
    if licence.state in ("absent", "reserved"):
        return Judgement(Verdict.DENY, (Reason.NO_LICENCE,))
    if licence.state == "unreadable":
        return _tightened(Judgement(Verdict.REVIEW, (Reason.LICENCE_UNREADABLE,)), overrides)
    return _node(_parse(licence.expression), purpose, overrides)


def _node(node: Any, purpose: Purpose, overrides: Mapping[str, str]) -> Judgement:
    """Judge an expression tree: OR is the best of its branches, AND the worst."""
    operator = getattr(node, "operator", "").strip()
    if operator not in ("OR", "AND"):
        return _term(node, purpose, overrides)
    parts = [_node(arg, purpose, overrides) for arg in node.args]
    if operator == "OR":
        return min(parts, key=lambda j: (j.verdict, len(j.obligations)))
    worst = max(j.verdict for j in parts)
    reasons = dict.fromkeys(r for j in parts if j.verdict == worst for r in j.reasons)
    return Judgement(worst, tuple(reasons), tuple(sorted({o for j in parts for o in j.obligations})))


def _term(node: Any, purpose: Purpose, overrides: Mapping[str, str]) -> Judgement:
    exception = getattr(node, "exception_symbol", None)
    if exception is not None and exception.key.casefold() not in _spdx_ids():
        return Judgement(Verdict.REVIEW, (Reason.LICENCE_UNREADABLE,))
    key: str = getattr(node, "license_symbol", node).key  # a known exception (WITH) only ever adds permissions
    judgement = _of_table(key, purpose)
    commons = _CC.fullmatch(key)
    named = {name.casefold(): verdict for name, verdict in overrides.items()}
    for name in (key, commons[1] if commons else key):  # CC-BY-SA stands for its every version
        if verdict := named.get(name.casefold()):
            return Judgement(Verdict[verdict.upper()], (Reason.LICENCE_POLICY,), judgement.obligations)
    return _tightened(judgement, overrides)


def _tightened(judgement: Judgement, overrides: Mapping[str, str]) -> Judgement:
    general = Verdict[overrides.get("*", "allow").upper()]
    if general > judgement.verdict:
        return Judgement(general, (Reason.LICENCE_POLICY,), judgement.obligations)
    return judgement


def _of_table(key: str, purpose: Purpose) -> Judgement:
    if key == "CC0-1.0":
        return Judgement(Verdict.ALLOW, (Reason.LICENCE_ALLOWS,))
    if commons := _CC.fullmatch(key):
        return _creative_commons(commons[1], commons[2] is not None, purpose)
    if key in _PERMISSIVE:
        return Judgement(Verdict.ALLOW, (Reason.LICENCE_ALLOWS,), tuple(filter(None, [_PERMISSIVE[key]])))
    if key.startswith(("LicenseRef-", "DocumentRef-")):
        return Judgement(Verdict.DENY, (Reason.LICENCE_CONTRACT,))
    if key.casefold() in _ABSENT:
        return Judgement(Verdict.DENY, (Reason.NO_LICENCE,))
    if key in ("CC-PDM-1.0", "CC-PDDC"):
        return Judgement(Verdict.REVIEW, (Reason.LICENCE_PUBLIC_DOMAIN_MARK,))
    if key.startswith(_COPYLEFT):
        return Judgement(Verdict.REVIEW, (Reason.LICENCE_COPYLEFT,), ("notice", "share-alike"))
    listed = key.casefold() in _spdx_ids()
    return Judgement(Verdict.REVIEW, (Reason.LICENCE_UNLISTED if listed else Reason.LICENCE_UNREADABLE,))


def _creative_commons(family: str, versioned: bool, purpose: Purpose) -> Judgement:
    verdict = _LETTERS[_TABLE[family][_COLUMNS[purpose.use, purpose.commercial]]]
    obligations = ["attribution"]
    if "-SA" in family:
        obligations.append("share-alike")
    if "-NC" in family:
        obligations.append("non-commercial")
    if verdict is Verdict.ALLOW:
        reason = Reason.LICENCE_ALLOWS
    elif "-NC" in family and purpose.commercial:
        reason = Reason.LICENCE_NONCOMMERCIAL
    else:
        reason = Reason.LICENCE_NO_DERIVATIVES if "-ND" in family else Reason.LICENCE_SHARE_ALIKE
    if not versioned and verdict is Verdict.ALLOW:  # which text binds is unknown
        verdict, reason = Verdict.REVIEW, Reason.LICENCE_UNREADABLE
    return Judgement(verdict, (reason,), tuple(obligations))


def _from_url(text: str) -> str:
    if found := _CC_URL.fullmatch(text):
        kind, code, version, port = found.group(1).lower(), found.group(2).lower(), found.group(3), found.group(4)
        if kind in ("publicdomain", "p"):
            return {"zero": "CC0-1.0", "mark": "CC-PDM-1.0"}.get(code, "")
        return _commons_id(code.split("-"), version, port or "")
    found = _SPDX_URL.fullmatch(text)
    return found.group(1) if found else ""


def _from_words(text: str) -> str:
    """Creative Commons names: `CC BY-SA 4.0`, `Creative Commons Attribution-NonCommercial 4.0 International`."""
    words = text.casefold()
    for pattern, letters in _WORDS:
        words = pattern.sub(letters, words)
    tokens = [token for token in re.split(r"[\s_/,-]+", words) if token]
    named = tokens[:1] == ["cc"]
    tokens = tokens[1:] if named else tokens
    terms = [token for token in tokens if token in ("by", "nc", "sa", "nd")]
    rest = tokens[len(terms) :]
    if tokens[: len(terms)] != terms or "by" not in terms or not (named or rest):
        return ""
    version = rest.pop(0) if rest and re.fullmatch(r"\d\.\d", rest[0]) else ""
    port = rest.pop(0) if version and rest and re.fullmatch(r"[a-z]{2}|igo|scotland", rest[0]) else ""
    return "" if rest else _commons_id(terms, version, port)


def _from_both_names(text: str) -> str:
    """A name with the short name in brackets, when both mean the same."""
    found = _NAMED_TWICE.fullmatch(text)
    return _from_words(found[1]) if found and _from_words(found[1]) == _from_words(found[2]) else ""


def _commons_id(terms: list[str], version: str, port: str) -> str:
    """The id with its terms in SPDX order (old licences wrote by-nd-nc); "" when they make no known licence."""
    ordered = [term for term in ("by", "nc", "sa", "nd") if term in terms]
    identifier = "-".join(["CC", *ordered, version, port]).upper().replace("--", "-").strip("-")
    return identifier if len(ordered) == len(terms) and _CC.fullmatch(identifier) else ""


@lru_cache(maxsize=65_536)
def _parse(text: str) -> Any:
    """The expression tree, or None when it is none."""
    try:
        return _licensing().parse(text)
    except Exception:  # besides its own errors the parser raises IndexError for `()` and recurses without bound
        return None


@lru_cache(maxsize=1)
def _licensing() -> Licensing:
    """SPDX ids with their official aliases; a LicenseRef is always somebody's own and aliases nothing."""
    symbols = [
        LicenseSymbol(
            symbol.key,
            aliases=tuple(alias for alias in symbol.aliases if not alias.startswith("LicenseRef-")),
            is_exception=symbol.is_exception,
        )
        for key, symbol in get_spdx_licensing().known_symbols.items()
        if not key.startswith("LicenseRef-")
    ]
    return Licensing(symbols)


@lru_cache(maxsize=1)
def _spdx_ids() -> frozenset[str]:
    return frozenset(key.casefold() for key in _licensing().known_symbols)
