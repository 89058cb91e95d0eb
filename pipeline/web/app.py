"""The small server: drop an image and read its credential, walk its lineage, open the nightly reports; and the C2PA
Soft Binding Resolution API (resolution.py).

Pages have no script. The caller binds the server to 127.0.0.1; requests for any other host name are refused, so that
a web page elsewhere cannot read the studio's files through the visitor's browser.
"""

import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePath
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, File, HTTPException, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from sqlalchemy import select
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from pipeline.audit.lineage import trace_asset, trace_output
from pipeline.audit.report import environment, report_path, stylesheet
from pipeline.catalog.database import open_catalog
from pipeline.catalog.tables import runs
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.credentials.guard import guarded
from pipeline.web import deposits
from pipeline.web.deposits import deposit_api
from pipeline.web.limits import BodyLimit, SecurityHeaders
from pipeline.web.rates import RateLimit
from pipeline.web.resolution import PREFIX, invalid_query_status, resolution_api

MAXIMUM_UPLOAD = 32 * 2**20  # bytes
LOCAL_HOSTS = ("127.0.0.1", "localhost")
REQUESTS_PER_MINUTE = 300  # of one client; an upload counts for ten

_MACHINES = (f"{PREFIX}/", f"{deposits.PREFIX}/")  # paths that answer in JSON
_RUN = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


def create_app(
    workspace: Workspace,
    anchors_pem: Sequence[str] = (),
    watermark_key: bytes | None = None,
    hosts: Sequence[str] = LOCAL_HOSTS,
    maximum_upload: int = MAXIMUM_UPLOAD,
    requests_per_minute: int = REQUESTS_PER_MINUTE,
    lineage: bool = True,
    deposit_token: str = "",
) -> FastAPI:
    """The server of one workspace. `anchors_pem` are trust anchors, `hosts` the names that it answers to.

    Nothing that it serves changes the workspace, but for deposits, which need the token ("": none are taken).
    Without `lineage` it has the verify page and the API only, and hands out nothing about assets and their holders:
    for a server that strangers reach.
    """

    @asynccontextmanager
    async def guard(app: FastAPI) -> AsyncIterator[None]:
        """Strangers' files are read by a process of their own, one at a time."""
        with guarded(anchors_pem, workspace, watermark_key) as verify:
            app.state.verify, app.state.turn = verify, Lock()
            yield

    app = FastAPI(title="Imprimatur", docs_url=None, redoc_url=None, openapi_url=None, lifespan=guard)
    app.include_router(resolution_api(workspace, watermark_key))
    if deposit_token:
        app.include_router(deposit_api(workspace, "\n".join(anchors_pem), deposit_token))
    app.add_middleware(BodyLimit, maximum=maximum_upload)
    app.add_middleware(RateLimit, per_minute=requests_per_minute)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_middleware(SecurityHeaders)
    app.add_exception_handler(ImprimaturError, _not_found)
    app.add_exception_handler(StarletteHTTPException, _fault)
    app.add_exception_handler(RequestValidationError, _incomplete)

    @app.get("/")
    def home() -> HTMLResponse:
        return _page("verify.html", limit=maximum_upload // 2**20, lineage=lineage)

    @app.get("/style.css")
    def style() -> Response:
        return Response(stylesheet(), media_type="text/css")

    @app.post("/verify")
    def read_credential(image: Annotated[UploadFile, File()]) -> HTMLResponse:
        name = PurePath((image.filename or "image").replace("\\", "/")).name
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload{_suffix(name)}"
            path.write_bytes(image.file.read())
            with app.state.turn:
                facts = app.state.verify(path)
        return _page("credential.html", name=name, facts=facts, limit=maximum_upload // 2**20, lineage=lineage)

    if lineage:
        app.include_router(_lineage_pages(workspace))
    return app


def _lineage_pages(workspace: Workspace) -> APIRouter:
    """Pages of outputs, assets and nightly reports: for the studio's own people."""
    pages = APIRouter()

    @pages.get("/outputs/{output}")
    def output_lineage(output: str) -> HTMLResponse:
        return _page("output.html", output=trace_output(workspace, output))

    @pages.get("/outputs/{output}/image")
    def output_image(output: str) -> FileResponse:
        found = trace_output(workspace, output)
        return FileResponse(_inside(workspace.batch(found["batch"]), found["file"]))

    @pages.get("/assets/{asset:path}")
    def asset_lineage(asset: str) -> HTMLResponse:
        return _page("asset.html", asset=trace_asset(workspace, asset))

    @pages.get("/reports")
    def reports() -> HTMLResponse:
        with open_catalog(workspace).connect() as connection:
            rows = connection.execute(select(runs).order_by(runs.c.as_of.desc())).mappings().all()
        return _page("reports.html", runs=[row for row in rows if report_path(workspace, row["id"]).exists()])

    @pages.get("/reports/{run}")
    def nightly_report(run: str) -> HTMLResponse:
        path = report_path(workspace, run)
        if not _RUN.fullmatch(run) or not path.is_file():
            raise HTTPException(404, "There is no report of this run.")
        return HTMLResponse(path.read_bytes(), headers={"content-security-policy": _REPORT_POLICY})

    return pages


def _page(template: str, status: int = 200, **facts: Any) -> HTMLResponse:
    text = environment("pipeline.web").get_template(template).render({"lineage": True, **facts})
    return HTMLResponse(text, status)


def _not_found(_request: Request, error: Exception) -> Response:
    return _page("fault.html", 404, message=getattr(error, "message", str(error)), fix=getattr(error, "fix", ""))


def _fault(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    if request.url.path.startswith(_MACHINES):
        return JSONResponse({"detail": getattr(error, "detail", "")}, status, getattr(error, "headers", None))
    return _page("fault.html", status, message=getattr(error, "detail", "Something went wrong."), fix="")


def _incomplete(request: Request, error: Exception) -> Response:
    if request.url.path.startswith(_MACHINES):
        faults = error.errors() if isinstance(error, RequestValidationError) else []
        said = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults[:5]]
        return JSONResponse({"detail": "; ".join(said)}, invalid_query_status(request.url.path))
    return _page("fault.html", 422, message="No file was sent.", fix="choose an image first")


def _suffix(name: str) -> str:
    """The file name's ending where it is a plain one: some readers choose the format by it."""
    suffix = PurePath(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{2,5}", suffix) else ""


def _inside(folder: Path, relative: str) -> Path:
    """A file below `folder`; 404 when it is not there or the name leads out of it."""
    path = (folder / relative).resolve()
    if not relative or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise HTTPException(404, "The file of this output is not here.")
    return path
