"""Bad input: a message with the fix, the right exit code, no traceback, nothing half-published."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.credentials.certificates import certificate_pem, issue, key_pem
from tests.e2e.conftest import Studio

NOW = datetime.now(UTC)
YEAR = timedelta(days=360)


def said(studio: Studio, home: Path, config: Path) -> tuple[int, str]:
    """Exit code and words of a nightly run that must fail; nothing may be published by it."""
    done = studio.run("nightly", "--config", str(config), "--home", str(home), "--json")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == "", "nothing but JSON of a finished run goes to standard output"
    assert not list(home.glob("batches/*/images")) and not list(home.glob("batches/*/report"))
    assert "fix: " in done.stderr
    return done.returncode, done.stderr


def test_missing_config(studio: Studio, tmp_path: Path) -> None:
    code, words = said(studio, tmp_path / "home", tmp_path / "absent.yaml")
    assert code == 2
    assert "absent.yaml: no such file" in words


def test_unknown_key_is_corrected(studio: Studio, tmp_path: Path) -> None:
    config = studio.variant("unknown-key", screning={"false_alarm_rate": 0.02})
    code, words = said(studio, tmp_path / "home", config)
    assert code == 2
    assert "screning: unknown key" in words and "did you mean 'screening'?" in words


@pytest.mark.parametrize(
    ("source", "words"),
    [("no-such-folder", "no-such-folder"), ("empty-folder", "empty-folder"), ("nightly.yaml", "nightly.yaml")],
)
def test_unreadable_or_empty_source(studio: Studio, tmp_path: Path, source: str, words: str) -> None:
    (studio.folder / "empty-folder").mkdir(exist_ok=True)
    config = studio.variant(f"source-{source}", datasets=[{"name": "photos", "source": source}])
    code, printed = said(studio, tmp_path / "home", config)
    assert code == 2
    assert words in printed


def test_images_too_small_for_the_watermark(studio: Studio, tmp_path: Path) -> None:
    code, words = said(studio, tmp_path / "home", studio.variant("small", batch={"count": 4, "scale": 1}))
    assert code == 2
    assert "32 pixels" in words and "set batch.scale to 2" in words


def test_a_policy_that_denies_everything(studio: Studio, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("uses: []\n")
    code, words = said(studio, tmp_path / "home", studio.variant("deny-all", policy=str(policy)))
    assert code == 1, "a person must decide"
    assert "POLICY_DENIES" in words


def identity_files(folder: Path, **faults: Any) -> dict[str, str]:
    """A PEM identity below its own root, with faults where asked for."""
    root = issue("root", None, 1, YEAR * 3, NOW - timedelta(days=800))
    issuing = issue("issuing", root, 0, YEAR * 3, NOW - timedelta(days=800))
    signer = issue("signer", issuing, None, YEAR, faults.get("since", NOW - timedelta(days=1)))
    key = faults.get("key", signer.key)
    files = {
        "certificate": certificate_pem(signer.certificate, issuing.certificate),
        "private_key": key_pem(key),
        "anchors": certificate_pem(root.certificate),
    }
    for name, data in files.items():
        path = folder / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(data)
    return {name: str(folder / f"{name}.pem") for name in files}


def test_an_expired_certificate(studio: Studio, tmp_path: Path) -> None:
    files = identity_files(tmp_path, since=NOW - timedelta(days=400))
    code, words = said(studio, tmp_path / "home", studio.variant("expired", credentials=files))
    assert code == 2
    assert "certificate.pem" in words and "expired" in words


def test_a_key_that_is_not_the_certificates(studio: Studio, tmp_path: Path) -> None:
    files = identity_files(tmp_path, key=ec.generate_private_key(ec.SECP256R1()))
    code, words = said(studio, tmp_path / "home", studio.variant("mismatch", credentials=files))
    assert code == 2
    assert "private_key.pem" in words and "match" in words


def test_production_refuses_the_development_identity(studio: Studio, tmp_path: Path) -> None:
    config = studio.variant("production", credentials={"publish": "production"})
    code, words = said(studio, tmp_path / "home", config)
    assert code == 2
    assert "development identity" in words


def test_a_home_that_cannot_be_made(studio: Studio, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder")
    done = studio.run("nightly", "--config", str(studio.config), "--home", str(blocked / "home"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr and "--home" in done.stderr


def on_a_small_disk(
    studio: Studio, tmp_path: Path, megabytes: int, script: str
) -> "subprocess.CompletedProcess[str]":
    """Run a shell script with a real small file system at $DISK, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    nightly = studio.command("nightly", "--config", str(studio.config), "--home", f"{disk}/home", "--json")
    text = f"mount -t tmpfs -o size={megabytes}m tmpfs {disk} || exit 99\n{script}"
    environment = {**studio.environment(), "DISK": str(disk), "NIGHTLY": " ".join(nightly)}
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", text],
        cwd=studio.folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip("this machine does not let tests mount a small file system")
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_too_small_a_disk_is_refused_before_anything_is_done(studio: Studio, tmp_path: Path) -> None:
    done = on_a_small_disk(studio, tmp_path, 20, "$NIGHTLY; echo code $?; ls $DISK/home/datasets")
    assert "code 3" in done.stdout and "MB are free" in done.stderr
    assert "inventory" not in done.stdout


def test_a_disk_that_fills_up_stops_the_run_and_room_lets_it_go_on(studio: Studio, tmp_path: Path) -> None:
    done = on_a_small_disk(
        studio,
        tmp_path,
        200,
        "$NIGHTLY & until [ -d $DISK/home/datasets ]; do sleep 0.05; done\n"
        "cat /dev/zero > $DISK/filler 2>/dev/null; wait $!; echo first $?; ls $DISK/home/batches/*; echo listed\n"
        "rm $DISK/filler; $NIGHTLY; echo second $?\n",
    )
    assert "first 3" in done.stdout and "disk is full" in done.stderr, done.stderr
    assert "images" not in done.stdout.split("first 3")[1].split("listed")[0], "nothing half-published"
    assert "second 0" in done.stdout, done.stderr


def test_a_tampered_weights_file_is_not_sampled(studio: Studio, tmp_path: Path) -> None:
    home = tmp_path / "home"
    studio.nightly(home, studio.variant("short", batch={"count": 4, "scale": 2}))
    (weights,) = home.glob("models/*/weights.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = studio.run(
        "generate",
        "--model",
        weights.parent.name,
        "--count",
        "1",
        "--out",
        str(tmp_path / "out"),
        "--home",
        str(home),
    )
    assert done.returncode == 2
    assert "weights.safetensors" in done.stderr and "Traceback" not in done.stderr


def test_shipped_config_without_its_data_says_where_to_put_it(studio: Studio, tmp_path: Path) -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / "configs" / "game-icons.yaml").read_text())
    path = studio.variant("icons", datasets=config["datasets"])
    code, words = said(studio, tmp_path / "home", path)
    assert code == 2
    assert "IMPRIMATUR_MIRROR" in words
