"""Opening the catalog: SQLite (WAL, synchronous=FULL) by default, PostgreSQL by URL."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

from pipeline.catalog.tables import metadata
from pipeline.core.errors import EnvironmentFault
from pipeline.core.workspace import Workspace

_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "lustre"}

_APPEND_ONLY = (
    """create trigger if not exists consent_events_no_update before update on consent_events
    begin select raise(abort, 'the consent ledger is append-only'); end""",
    """create trigger if not exists consent_events_no_delete before delete on consent_events
    begin select raise(abort, 'the consent ledger is append-only'); end""",
    """create trigger if not exists consent_events_chain before insert on consent_events
    begin select case when new.prev is not
      (select coalesce((select hash from consent_events order by seq desc limit 1), ''))
      then raise(abort, 'the consent ledger chain is broken') end; end""",
)


@cache
def open_catalog(workspace: Workspace) -> Engine:
    """Open the catalog of a workspace, creating its tables. IMPRIMATUR_CATALOG_URL names a PostgreSQL database.

    Raises EnvironmentFault for SQLite on a network file system, where its locks do not hold.
    """
    url = os.environ.get("IMPRIMATUR_CATALOG_URL")
    if url:
        engine = create_engine(url)
        metadata.create_all(engine)
        return engine
    try:
        workspace.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot create the workspace {workspace.home}: {error.strerror}", "choose another --home"
        ) from None
    _refuse_network_file_system(workspace)
    engine = create_engine(f"sqlite:///{workspace.catalog}", connect_args={"timeout": 60})
    event.listen(engine, "connect", _set_pragmas)
    # SQLite locks at the first write otherwise, too late for read-then-append
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("begin immediate"))
    metadata.create_all(engine)
    with engine.begin() as connection:
        for trigger in _APPEND_ONLY:
            connection.exec_driver_sql(trigger)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("pragma foreign_keys=on")


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
            "choose a local --home, or set IMPRIMATUR_CATALOG_URL to a PostgreSQL database",
        )
