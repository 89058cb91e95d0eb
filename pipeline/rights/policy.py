"""The studio's policy: what the reference table leaves to a studio. Its digest is part of every decision."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from pipeline.core.digests import json_digest
from pipeline.core.settings import Settings, Use, load_settings


class Policy(Settings):
    """Defaults are the decision table itself; configs/policy.yaml writes them out."""

    # uses this studio permits at all; an empty list denies everything
    uses: tuple[Use, ...] = ("train_generative", "train_other", "generate_input")
    # where results are used: ISO 3166 codes, EU, or * for everywhere; a grant must cover all of them
    territories: tuple[str, ...] = ("*",)
    # our names in X-Robots-Tag: `name: noai` binds us, `othername: noai` does not
    agents: tuple[str, ...] = ("imprimatur",)
    # actors who record events on behalf of holders; anybody else speaks for themselves only
    registrars: tuple[str, ...] = ()
    # when a depicted person must have granted their likeness
    likeness: Literal["generative", "always"] = "generative"
    # whether an affected model may still be sampled and published from: not at all, or with a warning
    on_affected: Literal["block", "warn"] = "block"
    # SPDX id (or CC-BY-SA and the like, for every version) -> verdict for every purpose, in place of the table's;
    # `*` can only tighten
    licences: dict[str, Literal["allow", "review", "deny"]] = Field(default_factory=dict)

    @field_validator("territories")
    @classmethod
    def _somewhere(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one territory, or * for everywhere")
        return value

    @field_validator("licences")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        # a misspelt licence would silently not be denied
        from pipeline.rights.licences import is_licence_id

        for name in value:
            if name != "*" and not is_licence_id(name):
                raise ValueError(f"{name!r} is no SPDX licence id, LicenseRef-... or *")
        return value


def load_policy(path: Path | None) -> Policy:
    """The policy in a YAML file, or the default one. Raises ImprimaturError that names the file, key and fix."""
    return load_settings(path, Policy) if path else Policy()


def policy_digest(policy: Policy) -> str:
    """Hex SHA-256 of the policy's canonical JSON."""
    return json_digest(policy.model_dump(mode="json"))
