"""What an impact does to outputs and models: recall, restore, quarantine, the remedy. Files are kept, history too."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sqlalchemy import Connection, insert, select, update

from pipeline.audit.lines import Line
from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import model_row
from pipeline.catalog.tables import outputs, recalls, remedies
from pipeline.core.errors import ImprimaturError
from pipeline.core.moments import now
from pipeline.core.shards import machine_faults_named
from pipeline.core.workspace import Workspace

Remedy = Literal["none", "filtered", "retrained", "deleted", "unsupported"]


@dataclass(frozen=True)
class Settled:
    """Ids of outputs that were put on the recall list, and of those that a later grant took off it."""

    recalled: tuple[str, ...]
    restored: tuple[str, ...]


def settle(workspace: Workspace, lines: Sequence[Line]) -> Settled:
    """Recall published outputs that are affected, and take recalled ones back that are clear again.

    `lines` are those of now. A recalled file stays where it is and can be retrieved. Idempotent.
    """
    recalled, restored = [], []
    with open_catalog(workspace).begin() as connection:
        last = _last_actions(connection)
        for line in lines:
            if line.kind != "output":
                continue
            if line.state != "clear" and line.facts["published"] == "published":
                _set_state(connection, line, "recalled", "recall")
                recalled.append(line.id)
            if line.state == "clear" and line.facts["published"] == "recalled" and last.get(line.id) == "recall":
                _set_state(connection, line, "published", "restore")
                restored.append(line.id)
    return Settled(tuple(recalled), tuple(restored))


def recall_list(workspace: Workspace) -> list[dict[str, Any]]:
    """Recalled outputs, newest first: what to ask back, since when, and because of which assets."""
    with open_catalog(workspace).connect() as connection:
        rows = connection.execute(select(outputs).where(outputs.c.state == "recalled")).mappings().all()
        last = {row["output"]: row for row in connection.execute(select(recalls).order_by(recalls.c.seq)).mappings()}
    listed = [
        {
            **{name: row[name] for name in ("output", "batch", "index", "file", "file_sha256", "model")},
            **{name: row[name] for name in ("watermark", "manifest", "stamped_at")},
            "state": last[row["output"]]["state"] if row["output"] in last else "",
            "recalled_at": last[row["output"]]["at"] if row["output"] in last else "",
            "because": json.loads(last[row["output"]]["because"]) if row["output"] in last else [],
        }
        for row in rows
    ]
    return sorted(listed, key=lambda row: (row["recalled_at"], row["stamped_at"], row["index"]), reverse=True)


def quarantine_unpublished(workspace: Workspace, batch: str, because: Sequence[str]) -> int:
    """Put what an unfinished batch has stamped but not published into its quarantine; returns how many images.

    A batch is published whole: what still lies in its staging folder was never out.
    """
    folder = workspace.batch(batch)
    staged = sorted(path for path in (folder / "staging").glob("*/*") if path.is_file())
    with machine_faults_named(folder):
        (folder / "quarantine").mkdir(parents=True, exist_ok=True)
        for path in staged:
            path.replace(folder / "quarantine" / path.name)
        shutil.rmtree(folder / "staging", ignore_errors=True)
    said = {"action": "quarantine", "state": "affected", "because": json.dumps(list(because)), "at": now()}
    with open_catalog(workspace).begin() as connection:
        for row in connection.execute(select(outputs).where(outputs.c.batch == batch)).mappings().all():
            if not (folder / row["file"]).exists():
                file = f"quarantine/{Path(row['file']).name}"
                changed = {"state": "quarantined", "file": file}
                connection.execute(update(outputs).where(outputs.c.output == row["output"]).values(**changed))
                connection.execute(insert(recalls).values(output=row["output"], **said))
    return len(staged)


def record_remedy(
    workspace: Workspace, model: str, remedy: str, actor: str = "", evidence: str = "", note: str = ""
) -> None:
    """Record what was done about an affected model. Nothing is ever recorded as unlearned: that cannot be shown.

    Raises ImprimaturError for an unknown model or remedy, and for `deleted` while the weights are still there.
    """
    model_row(open_catalog(workspace), model)
    if remedy not in get_args(Remedy):
        raise ImprimaturError(f"remedy {remedy!r} is not known", f"write one of {', '.join(get_args(Remedy))}")
    weights = workspace.model(model) / "weights.safetensors"
    if remedy == "deleted" and weights.exists():
        raise ImprimaturError(f"{weights}: still there", "delete the weights first, then record it")
    with open_catalog(workspace).begin() as connection:
        said = {"remedy": remedy, "actor": actor, "evidence": evidence, "note": note, "at": now()}
        connection.execute(insert(remedies).values(model=model, **said))


def _last_actions(connection: Connection) -> dict[str, str]:
    query = select(recalls.c.output, recalls.c.action).order_by(recalls.c.seq)
    return {row.output: row.action for row in connection.execute(query)}


def _set_state(connection: Connection, line: Line, state: str, action: str) -> None:
    connection.execute(update(outputs).where(outputs.c.output == line.id).values(state=state))
    said = {"action": action, "state": line.state, "because": json.dumps(list(line.because)), "at": now()}
    connection.execute(insert(recalls).values(output=line.id, **said))
