"""`imprimatur stamp` and `imprimatur verify` as a person runs them: exit codes, JSON Lines, words."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials.identity import ensure_identity
from tests.e2e.in_process import lines, said

CONTRACT = {
    "file", "state", "ai_generated", "training_mining", "signer", "timestamped", "recovered", "registry", "codes",
}  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, suffix in enumerate(("png", "jpg", "webp", "avif", "tif", "gif")):
        random = np.random.default_rng(number)
        image = Image.fromarray(random.integers(40, 216, (8, 8, 3), np.uint8)).resize(
            (96, 96), Image.Resampling.BICUBIC
        )
        image.save(folder / f"{number}.{suffix}")
    return folder


def test_stamped_files_of_every_format_verify_with_exit_code_0(pictures: Path, tmp_path: Path) -> None:
    home, out = str(tmp_path / "home"), tmp_path / "out"
    stamped = lines("stamp", str(pictures), "--out", str(out), "--home", home)
    assert [row["state"] for row in stamped] == ["stamped"] * 6
    done = said("verify", str(out), "--home", home)
    assert done.code == 0, done.out
    assert done.out.count("Trusted") == 6
    rows = lines("verify", str(out), "--home", home)
    assert all(set(row) >= CONTRACT for row in rows)
    assert {(row["state"], row["ai_generated"], row["intact"], row["sound"]) for row in rows} == {
        ("Trusted", True, True, True)
    }
    assert {row["registry"]["output"] for row in rows} == {row["output"] for row in stamped}


def test_anchors_from_several_files(pictures: Path, tmp_path: Path) -> None:
    """Somebody else's machine: no workspace, two lists of anchors."""
    home, out = tmp_path / "home", tmp_path / "out"
    lines("stamp", str(pictures / "0.png"), "--out", str(out), "--home", str(home))
    mine, theirs = tmp_path / "mine.pem", tmp_path / "theirs.pem"
    mine.write_text(ensure_identity(CredentialSettings(), Workspace(home)).anchors_pem)
    theirs.write_text(ensure_identity(CredentialSettings(), Workspace(tmp_path / "other")).anchors_pem)
    elsewhere = ("verify", str(out / "0.png"), "--home", str(tmp_path / "nowhere"))
    assert said(*elsewhere).code == 1  # valid, signer unknown
    assert said(*elsewhere, "--anchors", str(theirs)).code == 1
    assert said(*elsewhere, "--anchors", str(theirs), "--anchors", str(mine)).code == 0
    assert not (tmp_path / "nowhere").exists()


def test_what_needs_a_person_is_1_and_bad_input_is_2(pictures: Path, tmp_path: Path) -> None:
    home, out = str(tmp_path / "home"), tmp_path / "out"
    lines("stamp", str(pictures / "0.png"), "--out", str(out), "--home", home)
    assert said("stamp", str(out / "0.png"), "--out", str(tmp_path / "again"), "--home", home).code == 1
    again = ("stamp", str(out / "0.png"), "--out", str(tmp_path / "again"), "--signed", "parent", "--home", home)
    assert said(*again).code == 0
    (out / "broken.png").write_bytes((out / "0.png").read_bytes()[:700])
    broken = said("verify", str(out), "--home", home)
    assert broken.code == 1
    assert "Traceback" not in broken.err
    for arguments in (
        ("verify", str(tmp_path / "missing.png")),
        ("verify", str(out / "0.png"), "--anchors", str(pictures / "0.png")),
        ("stamp", str(out / "0.png"), "--out", str(out), "--format", "bmp"),
        ("stamp", str(out / "0.png"), "--out", str(out), "--signed", "maybe"),
        ("stamp", str(pictures / "0.png"), "--out", str(out), "--model", "none"),
        ("stamp", str(pictures / "0.png"), "--out", str(out), "--source", str(tmp_path / "missing.png")),
    ):
        done = said(*arguments, "--home", home)
        assert (done.code, done.out) == (2, ""), arguments
        assert "fix: " in done.err


def test_a_sidecar_and_another_format(pictures: Path, tmp_path: Path) -> None:
    home, out = str(tmp_path / "home"), tmp_path / "out"
    (row,) = lines(
        "stamp", str(pictures / "0.png"), "--out", str(out), "--format", "avif", "--sidecar", "--home", home
    )
    assert (Path(row["out"]).name, Path(row["sidecar"]).name) == ("0.avif", "0.c2pa")
    with Image.open(io.BytesIO(Path(row["out"]).read_bytes())) as image:
        assert image.format == "AVIF"
    (found,) = lines("verify", row["out"], "--home", home)
    assert (found["state"], found["codes"]) == ("Trusted", ["manifest.sidecar"])
