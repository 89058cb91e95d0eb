"""Opening the catalog: SQLite (WAL, synchronous=FULL) by default, PostgreSQL by URL. Triggers keep the ledger."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from pipeline.catalog.tables import metadata
from pipeline.core.errors import EnvironmentFault, ImprimaturError
from pipeline.core.workspace import Workspace

URL_VARIABLE = "IMPRIMATUR_CATALOG_URL"
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "lustre"}
_OPENING = 0x1D9E_11A7  # advisory lock under which PostgreSQL tables are made: two first runs at once would collide

_SQLITE_TRIGGERS = (
    """create trigger if not exists consent_events_no_update before update on consent_events
    begin select raise(abort, 'the consent ledger is append-only'); end""",
    """create trigger if not exists consent_events_no_delete before delete on consent_events
    begin select raise(abort, 'the consent ledger is append-only'); end""",
    """create trigger if not exists consent_events_chain before insert on consent_events
    begin select case when new.prev is not
      (select coalesce((select hash from consent_events order by seq desc limit 1), ''))
      then raise(abort, 'the consent ledger chain is broken') end; end""",
)
_POSTGRESQL_TRIGGERS = (
    """create or replace function consent_events_no_change() returns trigger language plpgsql as $$ begin
      raise exception 'the consent ledger is append-only' using errcode = 'integrity_constraint_violation';
    end $$""",
    """create or replace function consent_events_chain() returns trigger language plpgsql as $$ begin
      if new.prev is distinct from
        coalesce((select hash from consent_events order by seq desc limit 1), '') then
        raise exception 'the consent ledger chain is broken' using errcode = 'integrity_constraint_violation';
      end if;
      return new;
    end $$""",
    """create or replace trigger consent_events_no_change before update or delete on consent_events
    for each row execute function consent_events_no_change()""",
    """create or replace trigger consent_events_no_truncate before truncate on consent_events
    for each statement execute function consent_events_no_change()""",
    """create or replace trigger consent_events_chain before insert on consent_events
    for each row execute function consent_events_chain()""",
)


@cache
def open_catalog(workspace: Workspace) -> Engine:
    """Open the catalog of a workspace, creating its tables. IMPRIMATUR_CATALOG_URL names a PostgreSQL database.

    Raises EnvironmentFault for SQLite on a network file system, where its locks do not hold, and for a server that
    cannot be reached; ImprimaturError for a URL of anything but PostgreSQL.
    """
    url = os.environ.get(URL_VARIABLE)
    return _open_postgresql(url) if url else _open_sqlite(workspace)


@contextmanager
def reading(catalog: Engine) -> Iterator[Connection]:
    """A connection that only reads: long reads of the ledger then hold up nobody who writes."""
    with catalog.connect().execution_options(reading=True) as connection:
        yield connection


def _open_sqlite(workspace: Workspace) -> Engine:
    try:
        workspace.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot create the workspace {workspace.home}: {error.strerror}", "choose another --home"
        ) from None
    _refuse_network_file_system(workspace)
    engine = create_engine(URL.create("sqlite", database=str(workspace.catalog)), connect_args={"timeout": 60})
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        metadata.create_all(connection)
        for trigger in _SQLITE_TRIGGERS:
            connection.exec_driver_sql(trigger)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("pragma foreign_keys=on")


def _begin(connection: Connection) -> None:
    # SQLite locks at the first write otherwise, too late for read-then-append
    reads = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("begin" if reads else "begin immediate")


def _open_postgresql(text: str) -> Engine:
    url = _postgresql_url(text)
    shown = url.render_as_string(hide_password=True)
    try:
        engine = create_engine(url, pool_pre_ping=True)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({_OPENING})")
            triggers = connection.exec_driver_sql(
                "select count(*) from pg_trigger where tgrelid = to_regclass('consent_events') and not tgisinternal"
            ).scalar_one()
            metadata.create_all(connection)
            if triggers < sum("create or replace trigger" in statement for statement in _POSTGRESQL_TRIGGERS):
                for statement in _POSTGRESQL_TRIGGERS:
                    connection.exec_driver_sql(statement)
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"{URL_VARIABLE} names PostgreSQL, but its driver is missing ({error.name})",
            "pip install 'imprimatur[postgres]'",
        ) from None
    except OperationalError as error:
        why = str(error.orig).strip().splitlines()[:1]
        raise EnvironmentFault(
            f"{URL_VARIABLE}: cannot open {shown} ({' '.join(why)})",
            "check the server, the database and the password",
        ) from None
    return engine


def _postgresql_url(text: str) -> URL:
    """The URL with the driver that the `postgres` extra installs, unless it names another one."""
    try:
        url = make_url(text.replace("postgres://", "postgresql://", 1))
        if url.get_backend_name() != "postgresql":
            raise ArgumentError
    except (ArgumentError, NoSuchModuleError):
        raise ImprimaturError(
            f"{URL_VARIABLE} is no PostgreSQL URL",
            "write postgresql://user:password@host/database, or unset it to use SQLite in the workspace",
        ) from None
    return url.set(drivername="postgresql+psycopg2") if url.drivername == "postgresql" else url


def _refuse_network_file_system(workspace: Workspace) -> None:
    try:
        with Path("/proc/mounts").open(encoding="utf-8") as mounts:
            points = [line.split()[1:3] for line in mounts]
    except OSError:
        return
    home = str(workspace.home)
    holding = [(point, kind) for point, kind in points if home == point or home.startswith(point.rstrip("/") + "/")]
    point, kind = max(holding, key=lambda mount: len(mount[0]), default=("", ""))
    if kind in _NETWORK_FILE_SYSTEMS:
        raise EnvironmentFault(
            f"{workspace.catalog} would lie on a network file system ({kind} at {point}), where SQLite loses data",
            f"choose a local --home, or set {URL_VARIABLE} to a PostgreSQL database",
        )
