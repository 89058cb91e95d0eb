"""The one thing that the server writes: outputs stamped elsewhere, from who holds the bearer token."""

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Header, HTTPException, UploadFile

from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.credentials.deposit import deposit

PREFIX = "/repository"


def deposit_api(workspace: Workspace, anchors_pem: str, token: str) -> APIRouter:
    """POST /repository/outputs: a signed image and its manifest store (multipart), kept under the output's id."""

    def bearer(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "A bearer token is needed.", {"www-authenticate": "Bearer"})

    api = APIRouter(prefix=PREFIX, dependencies=[Depends(bearer)])

    @api.post("/outputs", status_code=201)
    def keep_output(image: Annotated[UploadFile, File()], manifest: Annotated[UploadFile, File()]) -> dict[str, Any]:
        try:
            entry = deposit(workspace, image.file.read(), manifest.file.read(), anchors_pem)
        except ImprimaturError as error:
            raise HTTPException(422, f"{error.message}; {error.fix}") from None
        return {"output": entry.output, "manifestId": entry.manifest}

    return api
