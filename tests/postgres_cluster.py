"""A private, throw-away PostgreSQL server in a temporary folder, and fresh databases in it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

WHY_NOT = "PostgreSQL's server programs are not installed (Debian: apt-get install postgresql)"
REQUIRED = "IMPRIMATUR_TEST_POSTGRES"  # set to `required` where a missing server is a failure


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH, else where Debian keeps them."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default=None)


def user() -> list[str]:
    """PostgreSQL refuses to run as root: its own user's prefix for a command there."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@contextmanager
def cluster() -> Iterator[str]:
    """Start a server that listens on a socket in a temporary folder only; gives the URL of its first database."""
    found = programs()
    if found is None or (user() and not _has_postgres_user()):
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(WHY_NOT)
        pytest.skip(WHY_NOT)
    folder = Path(tempfile.mkdtemp(prefix="imprimatur-pg-"))
    try:
        if user():
            shutil.chown(folder, "postgres")
        data = folder / "data"
        _run(found / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=32MB"
        _run(found / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            _run(found / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(server: str) -> Iterator[str]:
    """A fresh database of the server: its URL."""
    name = f"test_{uuid4().hex[:12]}"
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg2:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
        yield server.replace("/postgres?", f"/{name}?")
        connection.execute(text(f"drop database {name} with (force)"))
    engine.dispose()


def _has_postgres_user() -> bool:
    try:
        return bool(pwd.getpwnam("postgres"))
    except KeyError:
        return False


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        [*user(), *map(str, command)], cwd="/", capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
