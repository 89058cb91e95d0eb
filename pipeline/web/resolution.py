"""The C2PA Soft Binding Resolution API 1.0.0: from a watermark, a fingerprint or a picture to manifest stores.

Answers as openapi/soft-binding-resolution.json says, which is served beside it. Outputs in quarantine are not found
here: they were never published.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.core.guard import Guard, Limits, Lost
from pipeline.core.workspace import Workspace
from pipeline.credentials import watermark
from pipeline.credentials.images import mime_of, small_pixels
from pipeline.credentials.jumbf import active_manifest_only
from pipeline.credentials.recovery import (
    HASH_ALGORITHM,
    Match,
    fingerprint_matches,
    hash_matches,
    payload_matches,
    watermark_matches,
)
from pipeline.credentials.repository import find_by_manifest, read_store

PREFIX = "/v1"
LONGEST_VALUE = 2_048  # characters of a value in a URL
MOST_RESULTS = 100
_MANIFEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,254}")

Results = Annotated[int, Query(alias="maxResults", ge=1)]


class Binding(BaseModel):
    """`c2pa.softBindingQuery`."""

    model_config = ConfigDict(strict=True)

    alg: str
    value: str


@cache
def openapi_document() -> dict[str, Any]:
    """The API's own document, as C2PA publishes it."""
    text = files("pipeline.web").joinpath("openapi/soft-binding-resolution.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def invalid_query_status(path: str) -> int:
    """The status for a query that cannot be read: 400, but byContent's document knows no refusal other than 415."""
    documented = openapi_document()["paths"].get(path.removeprefix(PREFIX), {}).get("post", {}).get("responses", {})
    return 415 if documented and "400" not in documented else 400


def resolution_api(workspace: Workspace, watermark_key: bytes | None) -> APIRouter:
    """The routes of the API over one workspace's manifest repository; the watermark key reads uploaded pictures."""
    api = APIRouter(prefix=PREFIX)

    @api.get("/openapi.json")
    def document() -> dict[str, Any]:
        return openapi_document()

    @api.get("/services/supportedAlgorithms")
    def supported_algorithms() -> dict[str, Any]:
        # the document asks of each watermark (surely by mistake) that it also has a member of this name
        marks = [{"alg": watermark.ALGORITHM, "watermarks": []}]
        return {"watermarks": marks, "fingerprints": [{"alg": HASH_ALGORITHM}]}

    @api.get("/matches/byBinding")
    def by_binding(value: str, alg: str, results: Results = 10) -> dict[str, Any]:
        if len(value) > LONGEST_VALUE:
            raise HTTPException(414, "The value is too long for a URL; use POST.")
        return _answer(_bound(workspace, alg, value), results)

    @api.post("/matches/byBinding")
    def by_large_binding(binding: Binding, results: Results = 10) -> dict[str, Any]:
        return _answer(_bound(workspace, binding.alg, binding.value), results)

    @api.api_route("/matches/byBinding", methods=["OPTIONS", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    def by_binding_otherwise() -> None:
        raise HTTPException(405, "Method Not Allowed", {"allow": "GET, POST"})  # else only the first is named

    @api.post("/matches/byContent")
    async def by_content(
        request: Request,
        alg: str | None = None,
        results: Results = 10,
        hint_alg: Annotated[str | None, Query(alias="hintAlg")] = None,
        hint_value: Annotated[str | None, Query(alias="hintValue")] = None,
    ) -> dict[str, Any]:
        rgb = await run_in_threadpool(_pixels, await request.body())
        matches = await run_in_threadpool(_seen, workspace, watermark_key, rgb, alg)
        return _answer(matches or _hinted(workspace, hint_alg, hint_value), results)

    @api.get("/manifests/{manifestId}")
    def manifest(manifestId: str, returnActiveManifest: Literal["true", "false"] = "false") -> Response:
        if not _MANIFEST_ID.fullmatch(manifestId):
            raise HTTPException(400, "This is not a manifest identifier.")
        entry = find_by_manifest(workspace, manifestId)
        store = read_store(workspace, entry.output) if entry and entry.state != "quarantined" else None
        if store is None:
            raise HTTPException(404, "There is no manifest of this identifier here.")
        wanted = active_manifest_only(store) if returnActiveManifest == "true" else store
        return Response(wanted, media_type="application/c2pa")

    return api


def _bound(workspace: Workspace, alg: str, value: str) -> list[Match]:
    """Outputs with this soft binding. Raises HTTPException 400 for an algorithm or value that is none of ours."""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise HTTPException(400, "The value is not base64.") from None
    if alg == watermark.ALGORITHM:
        if re.fullmatch(rb"[0-9a-f]{8}", data):  # as manifests write it
            return payload_matches(workspace, data.decode())
        if len(data) == 4:
            return payload_matches(workspace, data.hex())
        raise HTTPException(400, "A value of this algorithm has 4 bytes, or is 8 hexadecimal digits.")
    if alg == HASH_ALGORITHM:
        if len(data) != 32:
            raise HTTPException(400, "A value of this algorithm has 32 bytes.")
        return hash_matches(workspace, data)
    raise HTTPException(400, "This algorithm is not supported here.")


def _pixels(body: bytes) -> NDArray[np.uint8]:
    """The pixels of an uploaded image, decoded in a process of its own. Raises HTTPException 415."""
    if not mime_of(body):
        raise HTTPException(415, "This is not an image of a type that is read here.")
    with Guard(small_pixels, None, Limits()) as guard:
        found = guard.examine(body)
    if found is None or isinstance(found, Lost):
        raise HTTPException(415, "The image cannot be decoded.")
    height, width, pixels = found
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def _seen(workspace: Workspace, key: bytes | None, rgb: NDArray[np.uint8], alg: str | None) -> list[Match]:
    """Outputs that a picture comes from, by the algorithm asked for, else by watermark and then by looks."""
    found: list[Match] = []
    if key and alg in (None, watermark.ALGORITHM):
        found, _ = watermark_matches(workspace, rgb, key)
    if not found and alg in (None, HASH_ALGORITHM):
        found = fingerprint_matches(workspace, rgb)
    return found


def _hinted(workspace: Workspace, alg: str | None, value: str | None) -> list[Match]:
    """Outputs that the caller's own reading of the picture points to: a hint is never an error."""
    if alg is None or value is None:
        return []
    try:
        return _bound(workspace, alg, value)
    except HTTPException:
        return []


def _answer(matches: Sequence[Match], most: int) -> dict[str, Any]:
    """`c2pa.softBindingQueryResult`: published outputs, best first, each manifest once."""
    known = {match.entry.manifest: match for match in reversed(matches) if match.entry.state != "quarantined"}
    best = sorted(known.values(), key=lambda match: -match.similarity)[: min(most, MOST_RESULTS)]
    return {
        "matches": [
            {"manifestId": match.entry.manifest, "similarityScore": round(100 * max(0.0, match.similarity))}
            for match in best
            if match.entry.manifest
        ]
    }
