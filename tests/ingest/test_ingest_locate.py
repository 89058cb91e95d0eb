"""Where a source lies: path, mirror, cache, download; and what is said when it cannot be had."""

import gzip
import hashlib
from pathlib import Path

import pytest

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest.locate import locate_source

CONTENT = b"\0\0\x08\x03 some arrays"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IMPRIMATUR_MIRROR", raising=False)
    return Workspace(tmp_path / "home")


def test_a_path_is_taken_as_it_is_and_below_the_mirror(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror/tiles").mkdir(parents=True)
    here = DatasetSettings(name="tiles", source=str(tmp_path / "mirror/tiles"))
    assert locate_source(here, workspace) == tmp_path / "mirror/tiles"
    relative = DatasetSettings(name="tiles", source="tiles")
    with pytest.raises(ImprimaturError, match="no such file or folder") as caught:
        locate_source(relative, workspace)
    assert "IMPRIMATUR_MIRROR" in caught.value.fix
    monkeypatch.setenv("IMPRIMATUR_MIRROR", str(tmp_path / "mirror"))
    assert locate_source(relative, workspace) == tmp_path / "mirror/tiles"


@pytest.mark.parametrize("scheme", ["memory", "local"])
def test_a_url_is_downloaded_once_and_checked(tmp_path: Path, workspace: Workspace, scheme: str) -> None:
    import fsspec

    url = f"memory://{tmp_path.name}/a.idx" if scheme == "memory" else f"local://{tmp_path}/a.idx"
    with fsspec.open(url, "wb") as stream:
        stream.write(CONTENT)
    dataset = DatasetSettings(name="a", source=url, sha256=DIGEST.upper())
    found = locate_source(dataset, workspace)
    assert found == workspace.cache / DIGEST / "a.idx" and found.read_bytes() == CONTENT
    fsspec.open(url).fs.rm(fsspec.open(url).path)
    assert locate_source(dataset, workspace) == found


def test_a_download_with_another_digest_leaves_nothing_behind(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.idx").write_bytes(b"tampered")
    dataset = DatasetSettings(name="a", source=f"local://{tmp_path}/a.idx", sha256=DIGEST)
    with pytest.raises(ImprimaturError, match="does not have the SHA-256"):
        locate_source(dataset, workspace)
    assert not [path for path in workspace.cache.rglob("*") if path.is_file()]


def test_an_unreachable_url_names_the_mirror(workspace: Workspace) -> None:
    dataset = DatasetSettings(name="a", source="http://127.0.0.1:9/a.idx", sha256=DIGEST)
    with pytest.raises(ImprimaturError, match=r"a\.idx: cannot be read") as caught:
        locate_source(dataset, workspace)
    assert "IMPRIMATUR_MIRROR" in caught.value.fix


@pytest.mark.parametrize("folder", ["a", "elsewhere"])
def test_the_mirror_serves_a_url_when_the_content_is_right(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    place = tmp_path / "mirror" / folder
    place.mkdir(parents=True)
    (tmp_path / "mirror/b").mkdir()
    (tmp_path / "mirror/b/a.idx.gz").write_bytes(gzip.compress(b"something else"))
    (place / "a.idx.gz").write_bytes(gzip.compress(CONTENT, 1))  # compressed otherwise than upstream's
    monkeypatch.setenv("IMPRIMATUR_MIRROR", str(tmp_path / "mirror"))
    dataset = DatasetSettings(name="a", source="http://127.0.0.1:9/a.idx.gz", sha256=DIGEST)
    assert locate_source(dataset, workspace) == place / "a.idx.gz"


def test_a_pinned_path_is_checked_too(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.idx").write_bytes(CONTENT + b"!")
    with pytest.raises(ImprimaturError, match="does not have the SHA-256"):
        locate_source(DatasetSettings(name="a", source=str(tmp_path / "a.idx"), sha256=DIGEST), workspace)
