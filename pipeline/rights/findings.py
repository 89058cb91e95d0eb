"""The words of a decision: purpose, verdict, finding."""

from dataclasses import dataclass
from enum import IntEnum
from typing import get_args

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import Use
from pipeline.rights.reasons import Reason

USES: tuple[Use, ...] = get_args(Use)


class Verdict(IntEnum):
    """deny > review > allow: the worst of several is their maximum."""

    ALLOW = 0
    REVIEW = 1
    DENY = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Purpose:
    """What an asset is wanted for."""

    use: Use
    commercial: bool

    def __str__(self) -> str:
        return f"{self.use}:commercial" if self.commercial else self.use

    @property
    def generative(self) -> bool:
        """True when the asset shapes generated pictures: as training data of a generator, or as its input."""
        return self.use != "train_other"


@dataclass(frozen=True)
class Finding:
    """One reason for a verdict, and the evidence behind it."""

    verdict: Verdict
    reason: Reason
    evidence: tuple[str, ...] = ()


def parse_purpose(text: str) -> Purpose:
    """Read `USE` or `USE:commercial`. Raises ImprimaturError for anything else."""
    use, _, qualifier = text.strip().partition(":")
    for known in USES:
        if use == known and qualifier in ("", "commercial", "noncommercial"):
            return Purpose(known, qualifier == "commercial")
    raise ImprimaturError(
        f"purpose: {text!r} is not known", f"write one of {', '.join(USES)}, with :commercial when it is"
    )
