"""The Soft Binding Resolution API: by the letter of C2PA's document, and to its purpose, over real HTTP."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import c2pa
import httpx
import numpy as np
import pytest
import schemathesis
from credentials_studio import Studio, decoded, encoded, make_studio, picture
from hypothesis import HealthCheck, settings
from web_server import running

from pipeline.core.workspace import Workspace
from pipeline.credentials import sdk, watermark
from pipeline.credentials.jumbf import active_manifest_only
from pipeline.credentials.recovery import HASH_ALGORITHM
from pipeline.credentials.repository import record_output, store_path
from pipeline.similarity.fingerprints import fingerprint
from pipeline.web.app import create_app
from pipeline.web.resolution import openapi_document

ROOT = Path(__file__).parents[2]
COUNT = 3


@dataclass(frozen=True)
class Server:
    """A studio with published outputs, and where it is served."""

    studio: Studio
    files: list[Path]
    url: str

    def get(self, path: str, **query: object) -> httpx.Response:
        return httpx.get(f"{self.url}/v1{path}", params=query)

    def post(self, path: str, data: bytes, media: str = "image/png", **query: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1{path}", content=data, headers={"content-type": media}, params=query)

    def label(self, index: int) -> str:
        """The active manifest of a published file, as any C2PA reader says it."""
        with c2pa.Reader("image/png", io.BytesIO(self.files[index].read_bytes())) as reader:
            return str(json.loads(reader.json())["active_manifest"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    studio = make_studio(tmp_path_factory.mktemp("api") / "studio")
    files = [studio.published(index, "api") for index in range(COUNT)]
    identity = studio.identity
    app = create_app(studio.workspace, [identity.anchors_pem], identity.watermark_key, requests_per_minute=10**9)
    with running(app) as url:
        yield Server(studio, files, url)


# --- by the letter -------------------------------------------------------------------------------------------------

DOCUMENT = schemathesis.openapi.from_dict(openapi_document())


@DOCUMENT.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_knows(server: Server, case: schemathesis.Case) -> None:
    # to the document a value is any string: that it must be base64, and of an algorithm known here, is in its words
    words = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]
    case.call_and_validate(base_url=f"{server.url}/v1", excluded_checks=words)


def test_the_document_is_served_unchanged(server: Server) -> None:
    published = json.loads((ROOT / "pipeline/web/openapi/soft-binding-resolution.json").read_text())
    assert server.get("/openapi.json").json() == published
    assert (published["info"]["version"], len(published["paths"])) == ("1.0.0", 4)


# --- to its purpose ------------------------------------------------------------------------------------------------


def matches(answer: httpx.Response) -> list[tuple[str, int]]:
    assert answer.status_code == 200, answer.text
    return [(match["manifestId"], match["similarityScore"]) for match in answer.json()["matches"]]


def test_both_kinds_of_algorithm_are_announced(server: Server) -> None:
    answer = server.get("/services/supportedAlgorithms").json()
    assert [entry["alg"] for entry in answer["watermarks"]] == [watermark.ALGORITHM]
    assert [entry["alg"] for entry in answer["fingerprints"]] == [HASH_ALGORITHM]


def test_a_watermark_leads_to_its_manifest_by_get_and_post_in_both_spellings(server: Server) -> None:
    payload = server.studio.stamped(1, "api").watermark
    for value in (bytes.fromhex(payload), payload.encode()):
        query = {"alg": watermark.ALGORITHM, "value": base64.b64encode(value).decode()}
        expected = [(server.label(1), 100)]
        assert matches(server.get("/matches/byBinding", **query)) == expected
        posted = server.post("/matches/byBinding", json.dumps(query).encode(), "application/json")
        assert matches(posted) == expected


def test_a_fingerprint_leads_to_its_manifest_with_its_nearness(server: Server) -> None:
    phash = bytearray(fingerprint(decoded(server.files[2].read_bytes())).phash)
    phash[0] ^= 0b1100_0000
    query = {"alg": HASH_ALGORITHM, "value": base64.b64encode(bytes(phash)).decode()}
    assert matches(server.get("/matches/byBinding", **query)) == [(server.label(2), 99)]


@pytest.mark.parametrize("alg", [None, watermark.ALGORITHM, HASH_ALGORITHM])
def test_a_stripped_picture_leads_to_its_manifest(server: Server, alg: str | None) -> None:
    bare = encoded(decoded(server.files[0].read_bytes()), "JPEG", quality=85)
    query = {"alg": alg} if alg else {}
    ((label, score),) = matches(server.post("/matches/byContent", bare, "image/jpeg", **query))
    assert label == server.label(0) and score > 90


def test_the_manifest_that_comes_back_is_the_one_that_was_signed(server: Server) -> None:
    answer = server.get(f"/manifests/{server.label(0)}")
    assert answer.headers["content-type"] == "application/c2pa"
    bare = decoded(server.files[0].read_bytes())
    anchors = server.studio.identity.anchors_pem
    report = sdk.read(answer.content, "application/c2pa", anchors)
    assert report is not None and report["active_manifest"] == server.label(0)
    assert "claimSignature.validated" in sdk.success_codes(report) and len(report["manifests"]) == 3
    assert answer.content == store_path(server.studio.workspace, output_of(report)).read_bytes() and bare.size


def output_of(report: sdk.ManifestStore) -> str:
    (generation,) = sdk.assertions(sdk.active_manifest(report), sdk.GENERATION_ASSERTION)
    return str(generation["uniqueId"])


def test_the_active_manifest_alone_holds_no_other(server: Server) -> None:
    whole = server.get(f"/manifests/{server.label(0)}").content
    alone = server.get(f"/manifests/{server.label(0)}", returnActiveManifest="true").content
    assert len(alone) < len(whole)
    report = sdk.read(alone, "application/c2pa", server.studio.identity.anchors_pem)
    assert report is not None and list(report["manifests"]) == [server.label(0)]
    for rubbish in (b"", b"rubbish", b"\0\0\0\x09jumbx", whole[:-1]):
        with pytest.raises(ValueError, match=r"box|store"):
            active_manifest_only(rubbish)


def test_a_hint_helps_where_the_picture_does_not_and_is_never_an_error(server: Server) -> None:
    stranger = encoded(picture(999), "PNG")
    payload = base64.b64encode(bytes.fromhex(server.studio.stamped(1, "api").watermark)).decode()
    hint = {"hintAlg": watermark.ALGORITHM, "hintValue": payload}
    assert matches(server.post("/matches/byContent", stranger, **hint)) == [(server.label(1), 100)]
    for wrong in ({"hintAlg": "unknown.alg", "hintValue": payload}, {**hint, "hintValue": "?"}, {}):
        assert matches(server.post("/matches/byContent", stranger, **wrong)) == []


def test_no_more_results_than_asked_for(server: Server) -> None:
    picture_of = decoded(server.files[0].read_bytes())
    for number in range(3):  # the same picture, published again
        stamped, facts = server.studio.stamped(0, f"again-{number}"), server.studio.facts(0, f"again-{number}")
        record_output(server.studio.workspace, stamped, facts, "images/a.png", "published")
    query = {"alg": HASH_ALGORITHM, "value": base64.b64encode(fingerprint(picture_of).phash).decode()}
    assert len(matches(server.get("/matches/byBinding", **query))) == 4
    assert len(matches(server.get("/matches/byBinding", **query, maxResults=2))) == 2


def test_what_was_never_published_is_not_handed_out(server: Server) -> None:
    stamped, facts = server.studio.stamped(50, "held"), server.studio.facts(50, "held")
    record_output(server.studio.workspace, stamped, facts, "quarantine/a.png", "quarantined")
    assert matches(server.post("/matches/byContent", encoded(decoded(stamped.data), "PNG"))) == []
    assert server.get(f"/manifests/{stamped.manifest}").status_code == 404


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/matches/byBinding", {"alg": "com.example.unknown", "value": "AAAA"}, 400),
        ("/matches/byBinding", {"alg": watermark.ALGORITHM, "value": "not base64!"}, 400),
        ("/matches/byBinding", {"alg": watermark.ALGORITHM, "value": "AAAA"}, 400),
        ("/matches/byBinding", {"alg": HASH_ALGORITHM, "value": "AAAA"}, 400),
        ("/matches/byBinding", {"alg": watermark.ALGORITHM, "value": "AAAAAA==", "maxResults": 0}, 400),
        ("/matches/byBinding", {"alg": watermark.ALGORITHM}, 400),
        ("/matches/byBinding", {"alg": watermark.ALGORITHM, "value": "A" * 5000}, 414),
        ("/manifests/none", {}, 404),
        ("/manifests/%20", {}, 400),
        ("/manifests/..%2f..%2fkeys", {}, 404),
        ("/nowhere", {}, 404),
    ],
)
def test_what_cannot_be_answered_is_said_in_json(
    server: Server, path: str, query: dict[str, object], status: int
) -> None:
    answer = server.get(path, **query)
    assert answer.status_code == status and answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"hello", b"\x89PNG\r\n\x1a\n broken", np.zeros(9).tobytes()])
def test_what_is_no_picture_is_an_invalid_asset_type(server: Server, body: bytes) -> None:
    assert server.post("/matches/byContent", body, "application/octet-stream").status_code == 415


def test_an_asset_above_the_limit_is_refused(server: Server) -> None:
    answer = server.post("/matches/byContent", b"\0" * (33 * 2**20))
    assert answer.status_code == 413 and "larger than" in answer.json()["detail"]


def test_asking_changes_nothing(server: Server) -> None:
    home = server.studio.workspace.home
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and "sqlite" not in path.name}
    rows = sum(1 for _ in home.rglob("*"))
    server.post("/matches/byContent", encoded(picture(1), "PNG"))
    server.get(f"/manifests/{server.label(0)}")
    assert all(path.read_bytes() == data for path, data in before.items()) and sum(1 for _ in home.rglob("*")) == rows
    for method in ("PUT", "DELETE", "PATCH"):
        assert httpx.request(method, f"{server.url}/v1/manifests/{server.label(0)}").status_code == 405


# --- deposits ------------------------------------------------------------------------------------------------------


def test_only_the_bearer_of_the_token_may_deposit_and_only_what_is_trusted(server: Server, tmp_path: Path) -> None:
    """A second workspace takes an output of the first, and then answers for it."""
    anchors, key = server.studio.identity.anchors_pem, server.studio.identity.watermark_key
    stamped = server.studio.stamped(77, "elsewhere")
    parts = {"image": ("a.png", stamped.data), "manifest": ("a.c2pa", stamped.manifest_store)}
    mine = {"authorization": "Bearer letmein"}
    with running(create_app(Workspace(tmp_path / "other"), [anchors], key, deposit_token="letmein")) as url:
        place = f"{url}/repository/outputs"
        for headers in ({}, {"authorization": "Bearer guess"}, {"authorization": "letmein"}):
            refused = httpx.post(place, files=parts, headers=headers)
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        for wrong in (stamped.data + b"x", server.files[0].read_bytes(), b"no image"):
            answer = httpx.post(place, files={**parts, "image": ("a.png", wrong)}, headers=mine)
            assert answer.status_code == 422, answer.text
        assert httpx.get(f"{url}/v1/manifests/{stamped.manifest}").status_code == 404
        for _ in range(2):
            answer = httpx.post(place, files=parts, headers=mine)
            assert answer.status_code == 201
            assert answer.json() == {"output": stamped.output, "manifestId": stamped.manifest}
        again = server.studio.stamped(77, "elsewhere")
        other = {"image": ("a.png", again.data), "manifest": ("a.c2pa", again.manifest_store)}
        assert "another manifest" in httpx.post(place, files=other, headers=mine).json()["detail"]
        assert httpx.get(f"{url}/v1/manifests/{stamped.manifest}").content == stamped.manifest_store
        bare = encoded(decoded(stamped.data), "PNG")
        found = httpx.post(f"{url}/v1/matches/byContent", content=bare, headers={"content-type": "image/png"})
        assert matches(found)[0][0] == stamped.manifest
    assert httpx.post(f"{server.url}/repository/outputs", files=parts, headers=mine).status_code == 404


# --- as it is run --------------------------------------------------------------------------------------------------


def test_the_command_serves_it_and_holds_every_client_to_the_rate(server: Server, free_port: int) -> None:
    home = server.studio.workspace.home
    command = [sys.executable, "-m", "flows.cli", "serve", "--home", str(home), "--port", str(free_port)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None and f"http://127.0.0.1:{free_port}" in process.stderr.readline()
            transport = httpx.HTTPTransport(retries=12)  # until it listens
            with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", transport=transport) as client:
                answer = client.get(f"/v1/manifests/{server.label(0)}")
                assert answer.status_code == 200 and len(answer.content) > 3000
                statuses = [client.get("/v1/services/supportedAlgorithms") for _ in range(400)]
                refused = [answer for answer in statuses if answer.status_code == 429]
                assert refused and int(refused[0].headers["retry-after"]) >= 1
                assert statuses[0].status_code == 200
        finally:
            process.terminate()


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
