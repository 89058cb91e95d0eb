"""What was given on the command line, as checked settings."""

from pathlib import Path
from typing import Any

from pipeline.core.settings import CredentialSettings, SomeSettings, load_job


def validated(model: type[SomeSettings], value: dict[str, Any], source: Path | None) -> SomeSettings:
    """Settings from the command line, with the same messages as from a file."""
    from pydantic import ValidationError

    from pipeline.core.settings import explained

    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explained(source or Path("command line"), model, error) from None


def given_credentials(config: Path | None) -> CredentialSettings:
    """How to sign, as a job's config says, else with a development identity."""
    return load_job(config).credentials if config else CredentialSettings()
