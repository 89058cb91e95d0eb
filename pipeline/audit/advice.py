"""What would settle a reason: for the person who has to do it."""

_GRANT = "A grant from every rights holder that covers this use, for the whole territory."
_PERSON = "A person reads the evidence and decides: a grant, or a restriction, in the ledger."

ADVICE = {
    "NO_LICENCE": "A licence that allows this use, or a grant from every rights holder.",
    "LICENCE_CONTRACT": _GRANT,
    "LICENCE_NONCOMMERCIAL": "A grant for commercial use, or leave it out.",
    "LICENCE_NO_DERIVATIVES": "A grant, or a legal opinion recorded in the policy's licence table.",
    "LICENCE_SHARE_ALIKE": "A grant, or a legal opinion recorded in the policy's licence table.",
    "LICENCE_COPYLEFT": "A grant, or a legal opinion recorded in the policy's licence table.",
    "LICENCE_PUBLIC_DOMAIN_MARK": "Evidence that it is in the public domain where results are used, as a grant.",
    "LICENCE_UNLISTED": "A legal opinion on this licence, recorded in the policy's licence table.",
    "LICENCE_UNREADABLE": "The licence in words that can be read: an SPDX expression or a licence's address.",
    "LICENCE_CONFLICT": "Ask the source which of the statements holds, and correct the others.",
    "LICENCE_EMBEDDED_ONLY": "The licence from somebody who can be held to it: the dataset's table, or a grant.",
    "GRANT_EXPIRED": "A new grant.",
    "GRANT_NOT_YET": "Wait until it begins, or ask for an earlier date.",
    "GRANT_SCOPE": "A grant that names this use.",
    "GRANT_TERRITORY": "A grant for the whole territory, or a policy for a smaller one.",
    "GRANT_INCOMPLETE": "Grants from the other rights holders.",
    "GRANT_VS_SIGNAL": "Ask the holder: a grant that says it overrides the mark in the file, or leave it out.",
    "CLAIM_UNVERIFIED": "Find out who holds the rights; record the claim as the holder's, or answer it.",
    "LEDGER_UNREADABLE": "Read the event (its row is in its note), record what it says, and resolve it.",
    "AMBIGUOUS_REFERENCE": "Name the work by its SHA-256.",
    "NO_LIKENESS": "A likeness grant from the person shown.",
    "CONSENT_WITHDRAWN": "Nothing but a later grant by the same holder.",
    "CONSENT_RESTRICTED": "Nothing but a later grant by the same holder.",
    "RELATIVE_UNKNOWN": "Find the work that it derives from, and its terms.",
    "C2PA_INVALID": "Ask the source for the file with its credential whole.",
    "C2PA_REMOTE": "Fetch the credential and ingest it with the file.",
    "METADATA_UNREADABLE": "Read the metadata with another tool; ask the source for a clean file.",
}


def advice(code: str) -> str:
    """What would settle this reason."""
    if code in ADVICE:
        return ADVICE[code]
    if code.startswith("SIGNAL_"):
        return "A grant from the holder that says it overrides the mark, or leave it out."
    if code.startswith("RELATIVE_"):
        return "What settles the picture that it inherits this from."
    return _PERSON
