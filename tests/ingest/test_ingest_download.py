"""Downloads from a real server that breaks off, has no ranges, or serves another file; and what is kept of them."""

import hashlib
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.core.errors import ImprimaturError
from pipeline.core.settings import DatasetSettings
from pipeline.core.workspace import Workspace
from pipeline.ingest import download
from pipeline.ingest.locate import locate_source

CONTENT = random.Random(0).randbytes(1_500_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Shop(BaseHTTPRequestHandler):
    """Serves CONTENT; `breaks` bytes at most in one answer, ranges or none, and it remembers what was asked for."""

    content = CONTENT
    breaks: int | None = None
    dead = False
    ranges = True
    asked: list[tuple[str, str]]  # method and range of each request
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        shop = type(self)
        wanted = self.headers.get("Range", "")
        shop.asked.append((self.command, wanted))
        content = shop.content
        if shop.dead:
            self.close_connection = True
            self.connection.close()
            return
        start, end = 0, len(content) - 1
        if wanted and shop.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end), end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        else:
            self.send_response(200)
        if shop.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end + 1 - start))
        self.end_headers()
        if body:
            part = content[start : end + 1]
            self.wfile.write(part[: shop.breaks])
            if shop.breaks is not None and shop.breaks < len(part):
                self.wfile.flush()
                self.close_connection = True

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def shop() -> Iterator[tuple[type[Shop], str]]:
    kind = type("OneShop", (Shop,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}/photos.tar"
    server.shutdown()
    server.server_close()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("IMPRIMATUR_MIRROR", raising=False)
    monkeypatch.setattr(download, "_CHUNK", 400_000)
    return Workspace(tmp_path / "home")


def fetched(url: str, workspace: Workspace, digest: str = DIGEST) -> Path:
    return locate_source(DatasetSettings(name="photos", source=url, sha256=digest), workspace)


def test_a_download_is_kept_in_the_cache_under_its_digest(shop: tuple[type[Shop], str], workspace: Workspace) -> None:
    kind, url = shop
    path = fetched(url, workspace)
    assert path == workspace.cache / DIGEST / "photos.tar" and path.read_bytes() == CONTENT
    kind.asked.clear()
    assert fetched(url, workspace) == path and kind.asked == []


def test_a_server_that_breaks_off_is_asked_again_for_the_rest(
    shop: tuple[type[Shop], str], workspace: Workspace
) -> None:
    kind, url = shop
    kind.breaks = 150_000
    assert fetched(url, workspace).read_bytes() == CONTENT
    assert [path.name for path in (workspace.cache / DIGEST).iterdir()] == ["photos.tar"]


def test_a_download_that_was_stopped_goes_on_in_the_next_run(
    shop: tuple[type[Shop], str], workspace: Workspace
) -> None:
    kind, url = shop
    part = workspace.cache / DIGEST / ".photos.tar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1_000_000])
    kind.dead = True
    with pytest.raises(ImprimaturError, match="cannot be read") as caught:
        fetched(url, workspace)
    assert "go on from byte 1,000,000" in caught.value.fix and part.stat().st_size == 1_000_000
    kind.dead = False
    kind.asked.clear()
    assert fetched(url, workspace).read_bytes() == CONTENT
    starts = [int(wanted.removeprefix("bytes=").split("-")[0]) for method, wanted in kind.asked if wanted]
    assert min(starts) == 1_000_000 and not part.exists()


def test_a_part_of_another_file_is_given_up(shop: tuple[type[Shop], str], workspace: Workspace) -> None:
    _, url = shop
    part = workspace.cache / DIGEST / ".photos.tar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 700_000)
    assert fetched(url, workspace).read_bytes() == CONTENT


def test_a_server_without_ranges_is_read_in_one_go(shop: tuple[type[Shop], str], workspace: Workspace) -> None:
    kind, url = shop
    kind.ranges = False
    part = workspace.cache / DIGEST / ".photos.tar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    assert fetched(url, workspace).read_bytes() == CONTENT


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(
    shop: tuple[type[Shop], str], workspace: Workspace
) -> None:
    _, url = shop
    with pytest.raises(ImprimaturError, match="does not have the SHA-256"):
        fetched(url, workspace, "0" * 64)
    assert not [path for path in workspace.cache.rglob("*") if path.is_file()]


def test_a_url_without_a_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="sha256"):
        DatasetSettings(name="photos", source="https://example.com/photos.tar")
