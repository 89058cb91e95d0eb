"""Set before numpy is imported: the same one BLAS thread as on the command line. And both kinds of catalog."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import postgres_cluster
import pytest

from pipeline.catalog.database import URL_VARIABLE, open_catalog
from pipeline.core.workspace import Workspace


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a throw-away PostgreSQL server."""
    with postgres_cluster.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """An empty workspace, once with its catalog in SQLite and once in a fresh PostgreSQL database."""
    made = Workspace(tmp_path / "studio")
    if request.param == "sqlite":
        yield made
        return
    with postgres_cluster.database(request.getfixturevalue("postgres_server")) as url:
        monkeypatch.setenv(URL_VARIABLE, url)
        yield made
        open_catalog(made).dispose()
