"""The small server: credentials in plain words, lineage both ways, reports; and nothing it should not hand out."""

import io
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

import audit_sample
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import select, update

from pipeline.audit.report import report_path, write_report
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import outputs
from pipeline.core.settings import CredentialSettings
from pipeline.core.workspace import Workspace
from pipeline.credentials import watermark
from pipeline.credentials.identity import ensure_identity, verification_keys
from pipeline.credentials.stamp_files import stamp_files
from pipeline.web.app import create_app

OUTPUT = "6f1c0a52-0000-4000-8000-000000000000"
HOSTILE = "\"'><script>alert(1)</script>.png"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = audit_sample.build(tmp_path_factory.mktemp("studio"), assets=20, images=6)
    write_report(audit_sample.report(assets=20, images=6), report_path(workspace, audit_sample.RUN))
    return workspace


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    identity = ensure_identity(CredentialSettings(), workspace)
    app = create_app(workspace, [identity.anchors_pem], identity.watermark_key, maximum_upload=2**20)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def stamped(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stamped")
    Image.fromarray(audit_sample.picture(77, 256)).save(folder / "woven.png")
    (result,) = stamp_files([folder / "woven.png"], folder / "out", CredentialSettings(), workspace)
    assert result["state"] == "stamped", result
    return Path(result["out"])


def upload(client: TestClient, data: bytes, name: str = "picture.png") -> str:
    answer = client.post("/verify", files={"image": (name, data)})
    assert answer.status_code == 200
    return answer.text


def test_a_stamped_image_is_trusted_and_leads_to_its_lineage(client: TestClient, stamped: Path) -> None:
    page = upload(client, stamped.read_bytes())
    assert "Intact, and its signer is trusted here." in page
    assert "yes, says the credential" in page and "cawg.ai_generative_training: notAllowed" in page
    assert "training generative AI" in page and "by its bytes" in page
    assert 'href="/outputs/' in page
    link = page.split('href="/outputs/')[1].split('"')[0]
    assert client.get(f"/outputs/{link}").status_code == 200


def test_a_changed_image_is_called_broken(client: TestClient, stamped: Path) -> None:
    assert "does not hold" in upload(client, stamped.read_bytes() + b"more")


def test_a_stripped_copy_is_recovered_and_said_to_be(client: TestClient, stamped: Path) -> None:
    with Image.open(stamped) as image:
        sink = io.BytesIO()
        image.convert("RGB").save(sink, "PNG")
    page = upload(client, sink.getvalue())
    assert "recovered from the manifest repository" in page and "carries no credential" in page


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_image_is_said_to_be_unreadable(client: TestClient, data: bytes) -> None:
    assert "cannot be read as an image" in upload(client, data)


def test_an_image_of_somebody_else_is_unknown_and_silence_is_no_permission(client: TestClient) -> None:
    page = upload(client, audit_sample.png(audit_sample.picture(4242)))
    assert "carries no credential" in page and "Unknown here." in page and "Silence is not permission" in page


@pytest.mark.parametrize(
    "name", [HOSTILE, "../../../etc/passwd", "..\\..\\x.png", "a" * 400 + ".png", "x.png\r\nz: 1"]
)
def test_a_hostile_file_name_is_only_ever_text(client: TestClient, name: str, workspace: Workspace) -> None:
    before = sorted(workspace.home.rglob("*"))
    page = upload(client, b"no image", name)
    assert "<script" not in page and "etc/" not in page
    assert sorted(workspace.home.rglob("*")) == before
    if name == HOSTILE:
        assert "script&gt;.png" in page


def test_an_upload_above_the_limit_is_refused_announced_or_not(client: TestClient) -> None:
    large = b"\0" * (2**20 + 1)
    announced = client.post("/verify", files={"image": ("large.png", large)})
    head = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    pieces = iter([head, *[large[:65536]] * 17, b"\r\n--x--\r\n"])
    streamed = client.post("/verify", content=pieces, headers={"content-type": "multipart/form-data; boundary=x"})
    for answer in (announced, streamed):
        assert answer.status_code == 413 and "larger than 1 MB" in answer.text


def test_a_form_without_a_file_is_explained(client: TestClient) -> None:
    answer = client.post("/verify", data={"other": "x"})
    assert answer.status_code == 422 and "No file was sent" in answer.text


def test_an_output_page_walks_back_to_the_assets(client: TestClient) -> None:
    page = client.get(f"/outputs/{OUTPUT}").text
    nearest = audit_sample.asset_rows(1)[0]
    for fact in (
        audit_sample.RUN,
        audit_sample.MODEL,
        audit_sample.SNAPSHOT,
        nearest["asset"],
        "event 0",
        "CC-BY-4.0",
    ):
        assert fact in page
    picture = client.get(f"/outputs/{OUTPUT}/image")
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")


def test_an_asset_page_walks_forward_to_the_outputs(client: TestClient) -> None:
    page = client.get("/assets/weave:0000").text
    assert "It is in the training set." in page and f'href="/outputs/{OUTPUT}"' in page
    assert "not in the training set: <code>NO_LICENCE</code>" in client.get("/assets/0007").text
    assert "UNREADABLE" in client.get("/assets/broken").text


def test_what_is_unknown_is_a_404_that_says_so(client: TestClient) -> None:
    for path in (
        "/outputs/none",
        "/assets/none",
        "/assets/a/../b",
        "/reports/none",
        "/nowhere",
        f"/assets/{HOSTILE}",
    ):
        answer = client.get(path)
        assert answer.status_code == 404 and "<h1>" in answer.text and "<script" not in answer.text


def test_reports_are_listed_and_served(client: TestClient, workspace: Workspace) -> None:
    assert f'href="/reports/{audit_sample.RUN}"' in client.get("/reports").text
    answer = client.get(f"/reports/{audit_sample.RUN}")
    assert answer.content == report_path(workspace, audit_sample.RUN).read_bytes()
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("run", ["%2e%2e", "..%2f..%2fkeys", "%2fetc%2fpasswd", "nightly-7%2f..", "a%00b"])
def test_no_path_leads_out_of_the_reports(client: TestClient, workspace: Workspace, run: str) -> None:
    planted = workspace.home / "report" / "report.html"
    planted.parent.mkdir(exist_ok=True)
    planted.write_text("secret")
    answer = client.get(f"/reports/{run}")
    assert answer.status_code == 404 and "secret" not in answer.text


@pytest.mark.parametrize("file", ["../../catalog.sqlite", "/etc/passwd", "images/../../../keys", ""])
def test_an_output_row_that_names_a_file_elsewhere_hands_out_nothing(tmp_path: Path, file: str) -> None:
    workspace = audit_sample.build(tmp_path, assets=10, images=2)
    with open_catalog(workspace).begin() as connection:
        connection.execute(update(outputs).where(outputs.c.output == OUTPUT).values(file=file))
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as client:
        answer = client.get(f"/outputs/{OUTPUT}/image")
    assert answer.status_code == 404 and "not here" in answer.text


def test_hostile_words_in_the_catalog_stay_text(tmp_path: Path) -> None:
    workspace = audit_sample.build(tmp_path, assets=10, images=2)
    with open_catalog(workspace).begin() as connection:
        connection.execute(update(outputs).values(file=HOSTILE, manifest=HOSTILE, watermark=HOSTILE, state=HOSTILE))
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as client:
        pages = [client.get(path).text for path in (f"/outputs/{OUTPUT}", "/assets/0000")]
    for page in pages:
        assert escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
        assert "<script" not in page


def test_every_answer_carries_strict_headers(client: TestClient) -> None:
    for path in ("/", "/style.css", "/reports", "/outputs/none", "/nowhere", f"/outputs/{OUTPUT}/image"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
        assert "script" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


def test_pages_have_no_script_and_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/reports", f"/outputs/{OUTPUT}", "/assets/0000"):
        page = client.get(path).text
        assert "<script" not in page and "http://" not in page and "https://" not in page and "style=" not in page


def test_a_planted_watermark_is_called_that(client: TestClient, workspace: Workspace, stamped: Path) -> None:
    key = verification_keys(CredentialSettings(), workspace)[1]
    with open_catalog(workspace).connect() as connection:
        known = connection.execute(select(outputs.c.watermark).where(outputs.c.file == str(stamped))).scalar_one()
    planted, _ = watermark.embed(audit_sample.picture(4343, 256), int(known, 16), key)
    assert "the watermark was planted" in upload(client, audit_sample.png(planted))


def test_a_public_server_hands_out_nothing_of_the_studio(workspace: Workspace, stamped: Path) -> None:
    anchors, key = verification_keys(CredentialSettings(), workspace)
    app = create_app(workspace, [anchors], key, hosts=["c2pa.example"], lineage=False)
    with TestClient(app, base_url="http://c2pa.example") as client:
        for path in (f"/outputs/{OUTPUT}", f"/outputs/{OUTPUT}/image", "/assets/weave:0000", "/reports"):
            assert client.get(path).status_code == 404
        page = upload(client, stamped.read_bytes())
        assert (
            "Intact, and its signer is trusted here." in page and "/outputs/" not in page and "/reports" not in page
        )
        assert client.get("/v1/services/supportedAlgorithms").status_code == 200


def test_another_host_name_is_refused(client: TestClient) -> None:
    answer = client.get("/reports", headers={"host": "attacker.example"})
    assert answer.status_code == 400 and audit_sample.RUN not in answer.text


def test_an_empty_workspace_has_pages_too(tmp_path: Path) -> None:
    with TestClient(create_app(Workspace.at(tmp_path / "new")), base_url="http://127.0.0.1") as client:
        assert "None yet." in client.get("/reports").text
        assert client.get("/outputs/none").status_code == 404
        assert "carries no credential" in upload(client, audit_sample.png(audit_sample.picture(1)))
    shutil.rmtree(tmp_path / "new")
