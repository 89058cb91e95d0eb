"""The chain snapshot -> model -> output: signed once, kept while it fits, and broken by any change."""

from pathlib import Path

import pytest
from credentials_studio import Studio

from pipeline.core.errors import ImprimaturError
from pipeline.credentials.sidecars import read_sidecar, sidecar_path, sign_model, sign_snapshot
from pipeline.credentials.verify import verify

LATER = "2026-11-25T02:00:00.000000Z"


def test_a_fitting_sidecar_is_kept_byte_for_byte(own_studio: Studio) -> None:
    studio = own_studio
    before = [sidecar_path(path).read_bytes() for path in (studio.statement, studio.weights)]
    sign_snapshot(studio.statement, studio.identity, snapshot="s1", root="cd" * 32, size=3, when=LATER)
    sign_model(studio.weights, studio.statement, studio.identity, model="m1", facts={"kind": "gan"}, when=LATER)
    assert [sidecar_path(path).read_bytes() for path in (studio.statement, studio.weights)] == before


def test_a_sidecar_that_says_something_else_is_signed_anew(own_studio: Studio) -> None:
    studio = own_studio
    before = sidecar_path(studio.weights).read_bytes()
    sign_model(studio.weights, studio.statement, studio.identity, model="m1", facts={"kind": "vae"}, when=LATER)
    assert sidecar_path(studio.weights).read_bytes() != before
    # a new snapshot credential makes the model's old one point at something that is no longer there
    model = sidecar_path(studio.weights).read_bytes()
    sign_snapshot(studio.statement, studio.identity, snapshot="s1", root="ee" * 32, size=3, when=LATER)
    sign_model(studio.weights, studio.statement, studio.identity, model="m1", facts={"kind": "vae"}, when=LATER)
    assert sidecar_path(studio.weights).read_bytes() != model
    assert read_sidecar(studio.weights, studio.identity.anchors_pem).kind == "c2pa.types.model"


@pytest.mark.parametrize("which", ["weights", "statement"])
def test_swapped_weights_and_an_altered_statement_are_refused(own_studio: Studio, which: str) -> None:
    path: Path = getattr(own_studio, which)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ImprimaturError, match=r"reads Invalid .*dataHash\.mismatch") as caught:
        read_sidecar(path, own_studio.identity.anchors_pem)
    assert str(path) in caught.value.message


def test_a_missing_and_a_damaged_sidecar_are_named(own_studio: Studio) -> None:
    sidecar = sidecar_path(own_studio.weights)
    sidecar.write_bytes(b"rubbish")
    with pytest.raises(ImprimaturError, match="not a readable manifest store"):
        read_sidecar(own_studio.weights, own_studio.identity.anchors_pem)
    sidecar.unlink()
    with pytest.raises(ImprimaturError, match="carries no credential"):
        read_sidecar(own_studio.weights, own_studio.identity.anchors_pem)


def test_a_sidecar_lies_beside_its_file() -> None:
    assert sidecar_path(Path("m/weights.safetensors")) == Path("m/weights.c2pa")
    assert sidecar_path(Path("images/night.1-000001.png")) == Path("images/night.1-000001.c2pa")


def test_a_whole_chain_is_read_from_one_file(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "output.png"
    path.write_bytes(studio.stamped(1).data)
    chain = verify(path, [studio.identity.anchors_pem]).chain
    assert [(link.link, link.title, link.state) for link in chain] == [
        ("output", "night-1-000001.png", "valid"),
        ("model", "model m1", "valid"),
        ("snapshot", "snapshot s1", "valid"),
    ]


@pytest.mark.parametrize(("words", "broken"), [(b"snapshot s1", "snapshot"), (b"model m1", "model")])
def test_a_byte_of_a_nested_manifest_breaks_that_link(
    studio: Studio, tmp_path: Path, words: bytes, broken: str
) -> None:
    data = bytearray(studio.stamped(1).data)
    # the title as its own manifest holds it; the parent repeats it in its ingredient
    data[data.find(words)] ^= 0x20
    path = tmp_path / "output.png"
    path.write_bytes(data)
    found = verify(path, [studio.identity.anchors_pem])
    assert found.state == "Invalid"
    assert "ingredient.manifest.mismatch" in found.codes
    states = {link.link: link.state for link in found.chain}
    assert (states[broken], states["output"]) == ("invalid", "valid")
