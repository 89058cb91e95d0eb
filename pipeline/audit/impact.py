"""Impact: which snapshots, models and outputs rest on an asset that may not be used (any more).

Nothing is marked in the catalog for this: the answer follows from the decisions at the moments asked about, so that
a withdrawal, a restriction, an expired grant and a new grant all have their effect, and undo each other's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import RowMapping, select

from pipeline.audit.origins import Origin, Questions, Touched
from pipeline.catalog.database import open_catalog
from pipeline.catalog.records import snapshot_row
from pipeline.catalog.tables import models, outputs, remedies, snapshots
from pipeline.core.errors import ImprimaturError
from pipeline.core.shards import read_table
from pipeline.core.workspace import Workspace
from pipeline.rights.policy import Policy


@dataclass(frozen=True)
class Line:
    """One snapshot, model or output. `lawful_when_made` is as then known, `lawful_as_known` as known at the moment
    asked about: both ask whether everything that it rests on was allowed at the moment when it was made.
    """

    kind: str  # snapshot | model | output
    id: str
    state: str  # clear | affected | affected-strong
    because: tuple[str, ...]  # assets: those used, then the relatives through which
    lawful_when_made: bool
    lawful_as_known: bool
    made_at: str
    facts: Mapping[str, Any]  # what else a reader of this kind wants to know

    def as_json(self) -> dict[str, Any]:
        """The line of `imprimatur audit impact --json`."""
        value = asdict(self)
        return {**{name: value[name] for name in value if name != "facts"}, **value["facts"]}


def impact(
    workspace: Workspace, as_of: str, known_at: str, policy: Policy | None = None, only_model: str = ""
) -> list[Line]:
    """Every snapshot, model and output with its state at a moment, in the order in which they were made.

    Each snapshot is judged by its own purpose and by the policy that it was made under, or by `policy`. `only_model`
    leaves all but this model out. Raises ImprimaturError when files that the catalog names are gone.
    """
    questions = Questions(workspace, policy)
    rows = _rows(workspace, models)
    if only_model:
        chain = {row["id"] for row in _chain(only_model, {row["id"]: row for row in rows})}
        rows = [row for row in rows if row["id"] in chain]
    wanted = {row["snapshot"] for row in rows} if only_model else None
    origins = {
        row["id"]: questions.origin(row)
        for row in _rows(workspace, snapshots)
        if wanted is None or row["id"] in wanted
    }
    trained = _models(workspace, rows, origins, questions, as_of, known_at)
    if only_model:
        return [line for line in trained if line.id == only_model]
    made = [_snapshot(origin, questions, as_of, known_at) for origin in origins.values()]
    return [*made, *trained, *_outputs(workspace, rows, origins, trained, questions, known_at)]


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
        because=_because(hit),
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
        chain = _chain(row["id"], by_id)
        own = [origins[one["snapshot"]] for one in chain if one["snapshot"] in origins]
        hit = _hit(own, questions, as_of, known_at)
        lines.append(
            Line(
                kind="model",
                id=row["id"],
                state="affected" if hit else "clear",
                because=_because(hit),
                lawful_when_made=_lawful_then(own, questions, row["trained_at"]),
                lawful_as_known=not _hit(own, questions, row["trained_at"], known_at),
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


def _outputs(
    workspace: Workspace,
    rows: Sequence[RowMapping],
    origins: Mapping[str, Origin],
    trained: Sequence[Line],
    questions: Questions,
    known_at: str,
) -> list[Line]:
    """Outputs of known models; an image that was only stamped here comes from none."""
    by_model, by_id = {line.id: line for line in trained}, {row["id"]: row for row in rows}
    made = [row for row in _rows(workspace, outputs) if row["model"] in by_model]
    affected = {row["batch"] for row in made if by_model[row["model"]].because}
    nearest = {batch: _nearest(workspace, batch) for batch in sorted(affected)}
    lines = []
    for row in sorted(made, key=lambda row: (row["stamped_at"], row["batch"], row["index"])):
        model = by_model[row["model"]]
        own = [origins[one["snapshot"]] for one in _chain(model.id, by_id) if one["snapshot"] in origins]
        near = nearest.get(row["batch"], {}).get(row["output"], ())
        close = _closest(near, own) & set(model.because)
        lines.append(
            Line(
                kind="output",
                id=row["output"],
                state="affected-strong" if close else model.state,
                because=tuple(asset for asset in model.because if asset in close) if close else model.because,
                lawful_when_made=_lawful_then(own, questions, row["stamped_at"]),
                lawful_as_known=not _hit(own, questions, row["stamped_at"], known_at),
                made_at=row["stamped_at"],
                facts={
                    "model": row["model"],
                    "batch": row["batch"],
                    "file": row["file"],
                    "published": row["state"],
                    "nearest": near[0] if near else "",
                },
            )
        )
    return lines


def _closest(near: Sequence[str], own: Sequence[Origin]) -> set[str]:
    """The nearest known asset of an output, and the nearest one that its model was trained on."""
    trained_on = (asset for asset in near if any(asset in origin.selected for origin in own))
    return {*near[:1], *list(trained_on)[:1]}


def _nearest(workspace: Workspace, batch: str) -> dict[str, tuple[str, ...]]:
    """Nearest known assets of a batch's outputs, best first; nothing when its table was not written."""
    path = workspace.batch(batch) / "batch.parquet"
    if not path.exists():
        return {}
    table = read_table(path, ["output", "nearest"])
    pairs = zip(table.output.tolist(), table.nearest.tolist(), strict=True)
    return {output: tuple(one["asset"] for one in near) for output, near in pairs if output}


def _hit(own: Iterable[Origin], questions: Questions, as_of: str, known_at: str) -> Touched:
    found: Touched = {}
    for origin in own:
        found |= questions.touched(origin, as_of, known_at)
    return found


def _lawful_then(own: Sequence[Origin], questions: Questions, moment: str) -> bool:
    """Whether all was allowed at a moment, as then known: no event since the snapshots had barred anything.

    Facts of an asset are those of today; what they alone change is held against the present, not the past.
    """
    for origin in own:
        then = questions.touched(origin, moment, moment)
        at_first = questions.touched(origin, origin.as_of, origin.known_at)
        if not origin.all_allowed or then.keys() - at_first.keys():
            return False
    return True


def _chain(model: str, by_id: Mapping[str, RowMapping]) -> list[RowMapping]:
    """A model and those that it was fine-tuned from, one after another."""
    chain: list[RowMapping] = []
    while model in by_id and by_id[model] not in chain:
        chain.append(by_id[model])
        model = by_id[model]["base"]
    return chain


def _because(hit: Touched) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*hit, *(relative for relatives in hit.values() for relative in relatives)]))


def _rows(workspace: Workspace, table: Any) -> Sequence[RowMapping]:
    with open_catalog(workspace).connect() as connection:
        return connection.execute(select(table)).mappings().all()
