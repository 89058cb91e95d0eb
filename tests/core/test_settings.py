"""Settings: what a person sees when a job's YAML is wrong."""

from pathlib import Path

import pytest

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import CredentialSettings, load_job

ROOT = Path(__file__).parents[2]
GOOD = "name: night\ndatasets:\n  - {name: a, source: folder}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_reads(config: Path) -> None:
    if config.stem == "policy":
        from pipeline.rights.policy import load_policy

        assert load_policy(config) == load_policy(None), "configs/policy.yaml states the default policy"
    else:
        assert load_job(config).name == config.stem


def test_missing_file_is_named_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(ImprimaturError, match=r"absent\.yaml: no such file") as caught:
        load_job(tmp_path / "absent.yaml")
    assert caught.value.exit_code == 2
    assert "existing YAML file" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        (GOOD + "modle: {kind: vae}\n", "modle: unknown key", "did you mean 'model'?"),
        (GOOD + "model: {kind: vae, secnds: 3}\n", r"model\.secnds: unknown key", "did you mean 'seconds'?"),
        (GOOD + "model: {kind: diffusion}\n", r"model\.kind", ""),
        (
            "name: x\ndatasets:\n  - {name: a, sorce: b}\n",
            r"datasets\.0\.sorce: unknown key",
            "did you mean 'source'?",
        ),
        ("name: x\ndatasets: []\n", "datasets", ""),
        ("name: Bad Name\ndatasets: [{name: a, source: b}]\n", "name: .*lower-case", ""),
        (GOOD + "  - {name: a, source: other}\n", "two of them have the same name", ""),
        ("name: x\ndatasets: [{name: a, source: 'https://example.org/a.tar'}]\n", "needs the sha256", ""),
        ("a: [1\n", "not valid YAML", ""),
        ("- a\n", "holds no settings", ""),
        (GOOD + "credentials: {certificate: a.pem}\n", "belong together", ""),
    ],
)
def test_faults_name_the_key_and_the_fix(tmp_path: Path, text: str, message: str, fix: str) -> None:
    with pytest.raises(ImprimaturError, match=message) as caught:
        load_job(written(tmp_path, text))
    assert fix in caught.value.fix
    assert "job.yaml" in caught.value.message


def test_a_misspelt_key_of_one_of_several_kinds_of_signer_is_explained(tmp_path: Path) -> None:
    signer = "{kind: http, urll: 'http://127.0.0.1/'}"
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: night\ndatasets: [{name: a, source: a}]\n"
        f"credentials: {{certificate: c.pem, anchors: a.pem, signer: {signer}}}\n"
    )
    with pytest.raises(ImprimaturError, match="did you mean 'url'"):
        load_job(path)


def test_a_certificate_has_exactly_one_key() -> None:
    signer = {"kind": "python", "function": "studio.keys:sign"}
    for keys in ({}, {"private_key": "k.pem", "signer": signer}):
        with pytest.raises(ValueError, match="private_key or signer"):
            CredentialSettings.model_validate({"certificate": "c.pem", "anchors": "a.pem", **keys})
