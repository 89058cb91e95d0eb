"""Reason codes: why an asset is allowed, denied or to be reviewed, each with a sentence for people."""

from enum import StrEnum


class Reason(StrEnum):
    """The stable code of a reason; `explanation` says it in one sentence."""

    explanation: str

    def __new__(cls, code: str, explanation: str) -> "Reason":
        member = str.__new__(cls, code)
        member._value_ = code
        member.explanation = explanation
        return member

    # the ledger
    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN", "A rights holder has withdrawn consent for this use."
    CONSENT_RESTRICTED = "CONSENT_RESTRICTED", "A rights holder has restricted this use."
    LEDGER_UNREADABLE = "LEDGER_UNREADABLE", "A consent event about it cannot be read; a person must."
    AMBIGUOUS_REFERENCE = (
        "AMBIGUOUS_REFERENCE",
        "A consent event or origin names it by a reference that fits several assets.",
    )
    GRANT = "GRANT", "Every rights holder has granted this use, here and at this moment."
    GRANT_VS_SIGNAL = "GRANT_VS_SIGNAL", "It was granted, yet carries a prohibition that the grant does not override."
    GRANT_EXPIRED = "GRANT_EXPIRED", "The grant for this use has ended."
    GRANT_NOT_YET = "GRANT_NOT_YET", "The grant for this use has not begun."
    GRANT_SCOPE = "GRANT_SCOPE", "There is a grant, but not for this use."
    GRANT_TERRITORY = "GRANT_TERRITORY", "There is a grant, but not for every territory of the policy."
    GRANT_INCOMPLETE = "GRANT_INCOMPLETE", "Some rights holders have granted this use, but not all."
    CLAIM_UNVERIFIED = "CLAIM_UNVERIFIED", "Somebody who is not its listed rights holder objects."
    NO_LIKENESS = "NO_LIKENESS", "It depicts a person who has not granted the use of their likeness."
    # the licence
    LICENCE_ALLOWS = "LICENCE_ALLOWS", "Its licence allows this use."
    LICENCE_NONCOMMERCIAL = "LICENCE_NONCOMMERCIAL", "Its licence does not allow commercial use."
    LICENCE_NO_DERIVATIVES = "LICENCE_NO_DERIVATIVES", "Its licence does not allow derivatives to be shared."
    LICENCE_SHARE_ALIKE = (
        "LICENCE_SHARE_ALIKE",
        "Its licence asks that derivatives be shared alike; a person must judge.",
    )
    LICENCE_COPYLEFT = (
        "LICENCE_COPYLEFT",
        "Its software licence asks that derived works be shared alike; a person must judge.",
    )
    LICENCE_PUBLIC_DOMAIN_MARK = (
        "LICENCE_PUBLIC_DOMAIN_MARK",
        "It is labelled as public domain, which is a label and not a licence.",
    )
    LICENCE_UNLISTED = "LICENCE_UNLISTED", "Its licence is not in the policy's table; a person must judge."
    LICENCE_UNREADABLE = "LICENCE_UNREADABLE", "What is written as its licence cannot be read as one."
    LICENCE_CONTRACT = "LICENCE_CONTRACT", "It falls under a contract, and no grant in the ledger covers this use."
    LICENCE_POLICY = "LICENCE_POLICY", "The policy overrides the table for its licence."
    LICENCE_CONFLICT = (
        "LICENCE_CONFLICT",
        "Its file, its table row and its dataset say different things about its licence.",
    )
    LICENCE_EMBEDDED_ONLY = (
        "LICENCE_EMBEDDED_ONLY",
        "Only unauthenticated metadata inside the file names a licence or permission.",
    )
    NO_LICENCE = "NO_LICENCE", "Nothing says that it may be used."
    POLICY_DENIES = "POLICY_DENIES", "The policy does not allow this use of any asset."
    # signals in files and headers
    SIGNAL_DMI_PROHIBITED = "SIGNAL_DMI_PROHIBITED", "Its metadata (plus:DataMining) prohibits this use."
    SIGNAL_DMI_REVIEW = "SIGNAL_DMI_REVIEW", "Its metadata (PLUS) refers to constraints that a person must read."
    SIGNAL_CAWG_PROHIBITED = (
        "SIGNAL_CAWG_PROHIBITED",
        "A content credential (training and data mining) prohibits this use.",
    )
    SIGNAL_CAWG_REVIEW = "SIGNAL_CAWG_REVIEW", "A content credential makes a restriction that may cover this use."
    SIGNAL_TDM = "SIGNAL_TDM", "Text and data mining rights are reserved (TDMRep)."
    SIGNAL_NOAI = "SIGNAL_NOAI", "It was served with X-Robots-Tag noai or noimageai."
    SIGNAL_AIPREF = "SIGNAL_AIPREF", "It was served with Content-Usage: train-ai=n (AIPREF)."
    C2PA_INVALID = "C2PA_INVALID", "Its content credential does not validate."
    C2PA_REMOTE = "C2PA_REMOTE", "Its content credential lies elsewhere and was not read."
    METADATA_UNREADABLE = "METADATA_UNREADABLE", "Some of its metadata could not be read."
    # relatives
    RELATIVE_WITHDRAWN = "RELATIVE_WITHDRAWN", "Consent for an identical picture, or for its origin, was withdrawn."
    RELATIVE_RESTRICTED = "RELATIVE_RESTRICTED", "An identical picture, or its origin, is restricted."
    RELATIVE_PROHIBITED = "RELATIVE_PROHIBITED", "An identical picture, or its origin, carries a prohibition."
    RELATIVE_LIKENESS = (
        "RELATIVE_LIKENESS",
        "An identical picture, or its origin, depicts a person without a likeness grant.",
    )
    RELATIVE_TERMS = "RELATIVE_TERMS", "The same bytes are also listed under stricter terms."
    RELATIVE_REVIEW = "RELATIVE_REVIEW", "An identical picture, or its origin, must be reviewed."
    RELATIVE_UNKNOWN = "RELATIVE_UNKNOWN", "It derives from something that is not in the workspace."
    # the selection for a snapshot
    DUPLICATE = "DUPLICATE", "A near-duplicate of it represents both."
    GROUP_NOT_FREE = "GROUP_NOT_FREE", "A near-duplicate of it may not be used."
