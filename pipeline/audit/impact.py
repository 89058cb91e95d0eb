"""Impact: which snapshots, models and outputs rest on an asset that may not be used (any more).

Nothing is marked in the catalog for this: the answer follows from the decisions at the moments asked about, so that
a withdrawal, a restriction, an expired grant and a new grant all have their effect, and undo each other's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, select

from pipeline.audit.impact_outputs import output_lines
from pipeline.audit.lines import Line, chain_of, hit_by, in_order, lawful_then
from pipeline.audit.origins import Origin, Questions
from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import snapshot_row
from pipeline.catalog.tables import models, remedies, snapshots
from pipeline.core.errors import ImprimaturError
from pipeline.core.workspace import Workspace
from pipeline.rights.policy import Policy


def impact(
    workspace: Workspace, as_of: str, known_at: str, policy: Policy | None = None, only_model: str = ""
) -> list[Line]:
    """Every snapshot, model and output with its state at a moment, in the order in which they were made.

    Each snapshot is judged by its own purpose and by the policy that it was made under, or by `policy`. `only_model`
    leaves all but this model out. Raises ImprimaturError when files that the catalog names are gone.
    """
    rows, made = _rows(workspace, models), _rows(workspace, snapshots)
    if not made:
        return []
    questions = Questions(workspace, policy)
    if only_model:
        chain = {row["id"] for row in chain_of(only_model, {row["id"]: row for row in rows})}
        rows = [row for row in rows if row["id"] in chain]
    wanted = {row["snapshot"] for row in rows} if only_model else None
    origins = {row["id"]: questions.origin(row) for row in made if wanted is None or row["id"] in wanted}
    trained = _models(workspace, rows, origins, questions, as_of, known_at)
    if only_model:
        return [line for line in trained if line.id == only_model]
    snapped = [_snapshot(origin, questions, as_of, known_at) for origin in origins.values()]
    return [*snapped, *trained, *output_lines(workspace, rows, origins, trained, questions, as_of, known_at)]


def model_line(workspace: Workspace, model: str, moment: str, policy: Policy | None = None) -> Line:
    """One model's line, as of and as known at a moment. Raises ImprimaturError when there is no such model."""
    lines = impact(workspace, moment, moment, policy, only_model=model)
    if not lines:
        raise ImprimaturError(f"model {model!r} is not in this workspace", "imprimatur train --dataset NAME")
    return lines[0]


def snapshot_line(workspace: Workspace, snapshot: str, moment: str) -> Line:
    """One snapshot's line, as of and as known at a moment. Raises ImprimaturError when there is no such snapshot."""
    snapshot_row(open_catalog(workspace), snapshot)
    questions = Questions(workspace)
    (row,) = (row for row in _rows(workspace, snapshots) if row["id"] == snapshot)
    return _snapshot(questions.origin(row), questions, moment, moment)


def _snapshot(origin: Origin, questions: Questions, as_of: str, known_at: str) -> Line:
    barred, hit = questions.barred(origin, as_of, known_at), questions.touched(origin, as_of, known_at)
    used = [asset for asset in hit if asset in barred]
    return Line(
        kind="snapshot",
        id=origin.id,
        state="affected" if hit else "clear",
        because=in_order(hit),
        lawful_when_made=origin.all_allowed,  # its own signed record: decided when it was made, as then known
        lawful_as_known=not questions.touched(origin, origin.as_of, known_at),
        made_at=origin.as_of,
        facts={
            "superseded": bool(hit),
            "size": origin.size,
            "purpose": str(origin.purpose),
            "on_affected": origin.policy.on_affected,
            "why": [{"asset": asset, **barred[asset].as_json()} for asset in used],
        },
    )


def _models(
    workspace: Workspace,
    rows: Sequence[RowMapping],
    origins: Mapping[str, Origin],
    questions: Questions,
    as_of: str,
    known_at: str,
) -> list[Line]:
    by_id = {row["id"]: row for row in rows}
    remedy = {row["model"]: row["remedy"] for row in _rows(workspace, remedies)}  # the last one stands
    lines = []
    for row in sorted(rows, key=lambda row: str(row["trained_at"])):
        chain = chain_of(row["id"], by_id)
        own = [origins[one["snapshot"]] for one in chain if one["snapshot"] in origins]
        hit = hit_by(own, questions, as_of, known_at)
        lines.append(
            Line(
                kind="model",
                id=row["id"],
                state="affected" if hit else "clear",
                because=in_order(hit),
                lawful_when_made=lawful_then(own, questions, row["trained_at"]),
                lawful_as_known=not hit_by(own, questions, row["trained_at"], known_at),
                made_at=row["trained_at"],
                facts={
                    "snapshot": row["snapshot"],
                    "base": row["base"],
                    "remedy": remedy.get(row["id"], "none"),
                    "on_affected": own[0].policy.on_affected if own else "block",
                },
            )
        )
    return lines


def _rows(workspace: Workspace, table: Any) -> Sequence[RowMapping]:
    with open_catalog(workspace).connect() as connection:
        return connection.execute(select(table)).mappings().all()
